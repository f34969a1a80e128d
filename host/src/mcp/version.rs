//! Protocol revisions and the two eras they fall into.

use std::fmt;

/// A revision of MCP that the gateway speaks, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtocolVersion {
    /// First with Streamable HTTP.
    V2025_03_26,
    /// First with the `MCP-Protocol-Version` header and structured content.
    V2025_06_18,
    /// Last of the legacy era.
    V2025_11_25,
    /// First of the modern era: stateless.
    V2026_07_28,
}

impl ProtocolVersion {
    /// All that are served, newest first.
    pub const SERVED: [Self; 4] = [
        Self::V2026_07_28,
        Self::V2025_11_25,
        Self::V2025_06_18,
        Self::V2025_03_26,
    ];

    /// Newest revision of the legacy era.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;

    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The served revision that this text names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::SERVED.into_iter().find(|v| v.as_str() == text)
    }

    /// Whether it belongs to the modern era.
    pub fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a version text claims the modern era, served or not: a date from 2026-07-28 on.
pub fn claims_modern(text: &str) -> bool {
    let date = text.len() == 10
        && text.bytes().enumerate().all(|(n, b)| {
            if n == 4 || n == 7 {
                b == b'-'
            } else {
                b.is_ascii_digit()
            }
        });
    date && text >= ProtocolVersion::V2026_07_28.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_are_told_by_date() {
        for (text, modern) in [
            ("2026-07-28", true),
            ("2027-01-01", true),
            ("2025-11-25", false),
            ("2024-11-05", false),
            ("DRAFT-2027", false),
            ("9", false),
            ("", false),
        ] {
            assert_eq!(claims_modern(text), modern, "{text}");
        }
        assert_eq!(
            ProtocolVersion::parse("2025-06-18"),
            Some(ProtocolVersion::V2025_06_18)
        );
        assert_eq!(ProtocolVersion::parse("2024-11-05"), None);
    }
}
