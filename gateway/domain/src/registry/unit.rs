//! Administrative units: provinces and communes, as they were on each day.

use lgsp_proto::types::UnitCode;

use super::source::Entry;
use super::validity::Validity;

/// An administrative unit (*đơn vị hành chính*) over one stretch of its life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unit {
    /// Its code in the list of the Prime Minister's decision (QĐ 19/2025/QĐ-TTg).
    pub code: UnitCode,
    /// Its name, e.g. `Phường Phú Xuân`.
    pub name: String,
    /// The province a commune belongs to.
    pub parent: Option<UnitCode>,
    /// The unit that took it in. A unit that was divided has none: nobody can tell from its code which part is meant.
    pub successor: Option<UnitCode>,
    /// When it exists under this name and parent.
    pub validity: Validity,
}

impl Unit {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let code = entry.value("code");
        let name = entry.text("name");
        let parent = entry.optional("parent");
        let successor = entry.optional("successor");
        let validity = entry.validity();
        Some(Self { code: code?, name: name?, parent, successor, validity })
    }
}
