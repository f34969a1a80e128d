//! Words of the 0.1 line from and into those of the current one.

use super::adapter::exports::cortex::gateway::backend as old;
use super::exporter::exports::cortex::gateway::exporter as old_exporter;
use super::policy::exports::cortex::gateway::policy as old_policy;
use super::types;
use crate::plugin::v0_2::adapter::cortex::gateway::types as new_types;
use crate::plugin::v0_2::adapter::exports::cortex::gateway::backend as new;
use crate::plugin::v0_2::exporter::exports::cortex::gateway::exporter as new_exporter;
use crate::plugin::v0_2::policy::exports::cortex::gateway::policy as new_policy;

/// What one line hands to the other: the same thing in its own words.
pub(in crate::plugin) trait Translate<T> {
    fn translate(self) -> T;
}

impl<T: Translate<U>, U> Translate<Vec<U>> for Vec<T> {
    fn translate(self) -> Vec<U> {
        self.into_iter().map(Translate::translate).collect()
    }
}

impl<T: Translate<U>, U> Translate<Option<U>> for Option<T> {
    fn translate(self) -> Option<U> {
        self.map(Translate::translate)
    }
}

impl<T: Translate<U>, U, E: Translate<F>, F> Translate<Result<U, F>> for Result<T, E> {
    fn translate(self) -> Result<U, F> {
        self.map(Translate::translate).map_err(Translate::translate)
    }
}

/// Types that are the same in both lines.
macro_rules! unchanged {
    ($($type:ty),*) => {
        $(impl Translate<$type> for $type {
            fn translate(self) -> $type {
                self
            }
        })*
    };
}

unchanged!(String, u8, u32, u64, bool);

/// Records: members that are translated one by one, and members that the older line has not.
macro_rules! record {
    ($from:ty => $into:path { $($member:ident),* $(; $added:ident)? }) => {
        impl Translate<$into> for $from {
            fn translate(self) -> $into {
                $into { $($member: self.$member.translate(),)* $($added: None,)? }
            }
        }
    };
}

/// Variants: cases that carry something, and cases that carry nothing.
macro_rules! variant {
    ($from:path => $into:path { $($case:ident),* $(; $($bare:ident),*)? }) => {
        impl Translate<$into> for $from {
            fn translate(self) -> $into {
                use $from as From;
                use $into as Into;
                match self {
                    $(From::$case(value) => Into::$case(value.translate()),)*
                    $($(From::$bare => Into::$bare,)*)?
                }
            }
        }
    };
}

record!(new::Target => old::Target { id, base_url, settings, timeout_ms, learned });
record!(new::Continuation => old::Continuation { state, responses });
record!(new::RequestContext => old::RequestContext {
    meta, client_capabilities, client_info, log_level, continuation
});
record!(new::HeaderArgument => old::HeaderArgument { header, value });
record!(new::ToolCall => old::ToolCall { tool, arguments, header_arguments, structured, context });
record!(new::PromptCall => old::PromptCall { prompt, arguments, context });
record!(new::ResourceRead => old::ResourceRead { uri, context });
record!(new::Completion => old::Completion { ref_, argument, value, context });

record!(old::Deprecation => new::Deprecation { removed_at, replaced_by, reason });
record!(old::Tool => new::Tool {
    name, title, description, input_schema, output_schema, annotations, icons, meta, extra, scopes,
    version, deprecated
});
record!(old::PromptArgument => new::PromptArgument { name, title, description, required });
record!(old::Prompt => new::Prompt {
    name, title, description, arguments, icons, meta, scopes; extra
});
record!(old::ResourceTemplate => new::ResourceTemplate {
    uri_template, name, title, description, mime_type, annotations, icons, meta, scopes; extra
});
record!(old::ListedResource => new::ListedResource {
    uri, name, title, description, mime_type, size, annotations, icons, meta, scopes; extra
});
record!(old::Skipped => new::Skipped { item, reason });
record!(old::Catalog => new::Catalog {
    tools, prompts, resource_templates, resources, skipped, learned
});
record!(old::Blob => new::Blob { data, mime_type });
variant!(old::Content => new::Content { Text, Image, Audio, Block });
record!(old::ToolResult => new::ToolResult { content, structured_content, is_error, meta; extra });
record!(old::PromptResult => new::PromptResult { description, messages, meta; extra });
record!(old::ResourceResult => new::ResourceResult { contents, meta; extra });
record!(old::InputRequired => new::InputRequired { requests, state });
variant!(old::ToolOutcome => new::ToolOutcome { Complete, InputRequired, Other });
variant!(old::PromptOutcome => new::PromptOutcome { Complete, InputRequired, Other });
variant!(old::ResourceOutcome => new::ResourceOutcome { Complete, InputRequired, Other });
record!(old::MissingScope => new::MissingScope { required, method });
record!(old::LinkRequired => new::LinkRequired { scopes });
record!(old::Failure => new::Failure { code, message, meta });
variant!(old::CallError => new::CallError {
    MissingScope, LinkRequired, Failed, NotFound, InvalidArguments, Other; Unsupported
});
record!(old::CompletionResult => new::CompletionResult { values, total, has_more });

record!(new_policy::Item => old_policy::Item { kind, backend, name, scopes });
variant!(old_policy::Decision => new_policy::Decision { MissingScope, Deny, Other; Allow });
variant!(old_policy::PolicyError => new_policy::PolicyError { Undecided, Other });

record!(new_exporter::AuditRecord => old_exporter::AuditRecord { sequence, json });
variant!(old_exporter::ExportError => new_exporter::ExportError { Unavailable, Other });

record!(types::Capability => new_types::Capability { name, reason; target });
record!(types::Description => new_types::Description {
    name, version, summary, settings_schema, capabilities
});
