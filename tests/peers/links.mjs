// Drives the pages that link accounts in a real browser, without scripts: `node links.mjs <configuration>`.
// Configuration, JSON: {chromium, base, issuer, people: [{user, account}], pictures?}. Says what it saw, as JSON.
import { mkdir } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

const config = JSON.parse(process.argv[2]);
const { default: puppeteer } = await import(pathToFileURL(config.puppeteer).href);

const browser = await puppeteer.launch({
    executablePath: config.chromium,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
});
const seen = { complaints: [], people: [] };

async function picture(page, name) {
    if (!config.pictures) return;
    await mkdir(config.pictures, { recursive: true });
    for (const scheme of ['light', 'dark']) {
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
        await page.screenshot({ path: `${config.pictures}/${name}-${scheme}.png` });
    }
}

const text = (page) => page.$eval('main', (main) => main.innerText);
const follow = (page, selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);

async function link(page, account) {
    await follow(page, 'a.button[href^="/api/link/"]');
    // The provider's own page: who, and that it is all right.
    await page.click(`input[name=user][value="${account}"]`);
    for (const scope of await page.$$('input[name=scope]')) {
        if (!(await scope.evaluate((box) => box.checked))) await scope.click();
    }
    await follow(page, 'button[value=allow]');
}

for (const { user, account } of config.people) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.setJavaScriptEnabled(false);
    await page.setViewport({ width: 900, height: 640 });
    page.on('console', (message) => seen.complaints.push(message.text()));
    page.on('pageerror', (error) => seen.complaints.push(String(error)));
    await page.setCookie({ name: 'user', value: user, url: config.issuer });

    await page.goto(`${config.base}/connections`);
    const person = { user, before: await text(page) };
    await picture(page, 'stranger');
    await follow(page, 'a.button');
    person.signedIn = await text(page);
    await picture(page, 'not-linked');
    await link(page, account);
    person.linked = await text(page);
    await picture(page, 'done');
    await page.goto(`${config.base}/connections`);
    person.after = await text(page);
    await picture(page, 'linked');
    // By keyboard alone: the button is reached and pressed.
    await page.focus('td.change button');
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    person.unlinked = await text(page);
    await link(page, account);
    person.again = await text(page);
    await page.setViewport({ width: 320, height: 640 });
    await page.goto(`${config.base}/connections`);
    person.overflows = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    await picture(page, 'narrow');
    seen.people.push(person);
    await context.close();
}
await browser.close();
console.log(JSON.stringify(seen));
