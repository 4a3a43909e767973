//! The two languages in which results and refusals are told. Help texts and logs are English only.

use clap::ValueEnum;
use lgsp_adapters::reference::event_name;
use lgsp_domain::transition::Act;
use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::Status;
use lgsp_proto::{Reason, v1};

/// A language of the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Lang {
    /// Tiếng Việt.
    Vi,
    /// English.
    En,
}

impl Lang {
    /// The language of the terminal, by the first of the usual variables that is set; English unless it is Vietnamese.
    pub(crate) fn of_the_terminal() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        if locale.is_some_and(|locale| locale.starts_with("vi")) { Self::Vi } else { Self::En }
    }

    /// The text in this language.
    pub(crate) fn pick<T>(self, vi: T, en: T) -> T {
        match self {
            Self::Vi => vi,
            Self::En => en,
        }
    }

    /// A fixed sentence of the bus.
    pub(crate) fn sentence(self, text: Bilingual) -> &'static str {
        self.pick(text.vi, text.en)
    }

    /// What happened, for a reason.
    pub(crate) fn what(self, reason: Reason) -> &'static str {
        self.sentence(reason.texts().what)
    }

    /// What to do about it.
    pub(crate) fn remedy(self, reason: Reason) -> &'static str {
        self.sentence(reason.texts().remedy)
    }

    /// What stands before the command that explains a refusal.
    pub(crate) fn explained_by(self) -> &'static str {
        self.pick("Giải thích", "Explained by")
    }

    /// A status by its official name, and as a number when this version does not know it.
    pub(crate) fn status(self, number: i32) -> String {
        let known = u32::try_from(number).ok().and_then(|number| Status::try_from(number).ok());
        known.map_or_else(|| number.to_string(), |status| self.pick(status.vietnamese(), status.english()).to_owned())
    }

    /// What happened to a dossier.
    pub(crate) fn event_kind(self, kind: v1::EventKind) -> &'static str {
        let act = Act::from_number(kind as i32);
        act.map_or_else(|| self.pick("(chưa rõ)", "(unknown)"), |act| self.sentence(event_name(act)))
    }
}
