//! Scope policies: who may see and call what.

use crate::{Description, Package};

pub use crate::backend::Principal;
pub use crate::bindings::exports::cortex::gateway::policy::{Decision, Item, PolicyError};

/// Something a policy looks at besides the item. From this the gateway knows what it may cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reads {
    /// `caller.scopes`.
    Scopes,
    /// `caller.subject` and the other members that identify the caller.
    Subject,
    /// `caller.claims`: without this word it is `{}`.
    Claims,
    /// The arguments of the call: without this word they are `None`.
    Arguments,
    /// The time of day.
    Time,
}

impl Reads {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scopes => "scopes",
            Self::Subject => "subject",
            Self::Claims => "claims",
            Self::Arguments => "arguments",
            Self::Time => "time",
        }
    }
}

/// A scope policy. [`export_policy!`](crate::export_policy) makes it a component.
///
/// When several are loaded, all must allow. A policy that panics has denied.
pub trait Policy {
    /// How the plugin introduces itself: by default as its crate does.
    fn describe(package: Package) -> Description {
        package.into()
    }

    /// What [`filter`](Self::filter) and [`authorize`](Self::authorize) look at besides the item.
    /// Leaving something out makes the gateway answer from a cache where it must not. What it is may
    /// depend on the [settings](crate::settings).
    fn reads() -> Vec<Reads>;

    /// May the caller use this item now? `arguments` is a JSON object, for policies that
    /// [read](Self::reads) them. An error denies.
    ///
    /// # Errors
    ///
    /// When it cannot be decided; the text is for the operator.
    fn authorize(
        caller: &Principal,
        item: &Item,
        arguments: Option<&str>,
    ) -> Result<Decision, PolicyError>;

    /// Which of these may the caller see in a list? One answer per item, in the same order.
    ///
    /// By default: those that [`authorize`](Self::authorize) allows without arguments.
    ///
    /// # Errors
    ///
    /// When it cannot be decided; this hides all of them.
    fn filter(caller: &Principal, items: &[Item]) -> Result<Vec<bool>, PolicyError> {
        Ok(items
            .iter()
            .map(|item| Self::authorize(caller, item, None) == Ok(Decision::Allow))
            .collect())
    }
}

impl PolicyError {
    /// It cannot be decided; the text is for the operator.
    pub fn undecided(why: impl Into<String>) -> Self {
        Self::Undecided(why.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    struct Picky;

    impl Policy for Picky {
        fn reads() -> Vec<Reads> {
            vec![Reads::Scopes, Reads::Arguments]
        }

        fn authorize(
            caller: &Principal,
            item: &Item,
            arguments: Option<&str>,
        ) -> Result<Decision, PolicyError> {
            match item.name.as_str() {
                "undecided" => Err(PolicyError::undecided("no idea")),
                "open" if arguments.is_none() => Ok(Decision::Allow),
                _ if caller.has_scope("all") => Ok(Decision::Allow),
                _ => Ok(Decision::MissingScope(vec!["all".into()])),
            }
        }
    }

    crate::export_policy!(Picky);

    #[test]
    fn filter_follows_authorize() {
        let items = ["open", "undecided", "closed"].map(|name| testing::item(name, &[]));
        let check = |scopes: &[&str], expected: [bool; 3]| {
            let seen = Picky::filter(&testing::caller(scopes), &items);
            assert_eq!(seen, Ok(expected.to_vec()), "{scopes:?}");
        };
        check(&[], [true, false, false]);
        check(&["all"], [true, false, true]);
    }

    #[test]
    fn the_component_names_what_it_reads() {
        use crate::bindings::exports::cortex::gateway::policy::Guest as _;
        let reads = crate::export::PolicyComponent::<Picky>::reads();
        assert_eq!(reads, ["scopes", "arguments"]);
    }
}
