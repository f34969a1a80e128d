// Loaded before a server that listens everywhere: it listens on this machine only.
import net from 'node:net';

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (port, ...rest) {
    const options = typeof port === 'object' ? port : { port: Number(port) };
    const done = rest.find((one) => typeof one === 'function');
    return listen.call(this, { ...options, host: '127.0.0.1' }, done);
};
