//! `OTEL_*`: where traces go, and of which requests. The names are those of OpenTelemetry ("Environment
//! Variable Specification").

use url::Url;

use super::vars::Vars;

/// Which requests are told to the collector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// All.
    All {
        /// Unless their clients have decided.
        by_parent: bool,
    },
    /// None.
    None {
        /// Unless their clients have decided.
        by_parent: bool,
    },
    /// A part of them, by chance.
    Ratio {
        /// How large a part.
        ratio: f64,
        /// Unless their clients have decided.
        by_parent: bool,
    },
}

/// Where traces go.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// The collector's URL for traces.
    pub endpoint: Url,
    /// Which ones.
    pub sampling: Sampling,
    /// As whom, when neither `OTEL_SERVICE_NAME` nor `OTEL_RESOURCE_ATTRIBUTES` says so.
    pub service_name: Option<String>,
}

/// Without an endpoint there are no traces.
pub(super) fn read(vars: &mut Vars<'_>, name: &str) -> Option<TraceConfig> {
    let sampling = sampling(vars);
    let endpoint = endpoint(vars)?;
    let off = vars.flag("OTEL_SDK_DISABLED")
        || vars.text("OTEL_TRACES_EXPORTER").as_deref() == Some("none");
    if off {
        return None;
    }
    if (vars.text("OTEL_EXPORTER_OTLP_PROTOCOL")).is_some_and(|word| word != "http/protobuf") {
        vars.note(
            "OTEL_EXPORTER_OTLP_PROTOCOL: traces are sent as `http/protobuf` all the same"
                .to_owned(),
        );
    }
    let named = vars.text("OTEL_SERVICE_NAME").is_some()
        || (vars.text("OTEL_RESOURCE_ATTRIBUTES"))
            .is_some_and(|text| text.contains("service.name="));
    Some(TraceConfig {
        endpoint,
        sampling,
        service_name: (!named).then(|| name.to_owned()),
    })
}

fn endpoint(vars: &mut Vars<'_>) -> Option<Url> {
    const EXPECTED: &str = "expected an http or https URL, such as `http://127.0.0.1:4318`";
    let (variable, path) = match vars.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        Some(_) => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""),
        None => ("OTEL_EXPORTER_OTLP_ENDPOINT", "v1/traces"),
    };
    let text = vars.text(variable)?;
    let url = Url::parse(&text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = url else {
        vars.wrong(variable, None, EXPECTED);
        return None;
    };
    if !path.is_empty() {
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
    }
    Some(url)
}

fn sampling(vars: &mut Vars<'_>) -> Sampling {
    let by_parent = true;
    let ratio = Sampling::Ratio {
        ratio: 1.0,
        by_parent,
    };
    let chosen = vars.choice(
        "OTEL_TRACES_SAMPLER",
        &[
            ("parentbased_always_on", Sampling::All { by_parent }),
            ("parentbased_always_off", Sampling::None { by_parent }),
            ("parentbased_traceidratio", ratio),
            ("always_on", Sampling::All { by_parent: false }),
            ("always_off", Sampling::None { by_parent: false }),
            (
                "traceidratio",
                Sampling::Ratio {
                    ratio: 1.0,
                    by_parent: false,
                },
            ),
        ],
        Sampling::All { by_parent },
    );
    let Sampling::Ratio { by_parent, .. } = chosen else {
        return chosen;
    };
    let text = vars.text("OTEL_TRACES_SAMPLER_ARG");
    let text = text.unwrap_or_else(|| "1".to_owned());
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    if ratio.is_none() {
        let expected = "expected a number from 0 to 1, such as `0.1`";
        vars.wrong("OTEL_TRACES_SAMPLER_ARG", Some(&text), expected);
    }
    Sampling::Ratio {
        ratio: ratio.unwrap_or(1.0),
        by_parent,
    }
}
