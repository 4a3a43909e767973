//! Closed lists of words that stand in the files: kinds of parties, rights, levels.

/// Declares an enum whose variants are words in the files, with parsing and printing that cannot drift apart.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in the files.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::registry::source::FromText for $name {
            fn from_text(text: &str) -> Result<Self, $crate::registry::problem::Fault> {
                let words = [$($word,)*].join(", ");
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(|| {
                    $crate::registry::problem::Fault::new(
                        format!("\"{text}\" không thuộc các giá trị: {words}"),
                        format!("\"{text}\" is none of: {words}"),
                    )
                })
            }
        }
    };
}

pub(super) use words;
