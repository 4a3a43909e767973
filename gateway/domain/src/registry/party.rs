//! Organisations on the bus, and the systems that act for them.

use std::fmt;

use lgsp_proto::types::{PartyId, UnitCode};

use super::binding::{CertificateBinding, ForeignId};
use super::problem::Fault;
use super::quota::Quota;
use super::source::{Entry, FromText};
use super::validity::Validity;
use super::word::words;

words! {
    /// What an organisation is. Routes by unit ("the police of the locality") choose by it.
    PartyKind {
        /// UBND cấp xã.
        Commune = "commune",
        /// Sở, and what stands beside it: Văn phòng UBND, Thanh tra, Ban quản lý.
        Department = "department",
        /// Công an, of the city or of a commune.
        Police = "police",
        /// Bảo hiểm xã hội.
        Insurance = "insurance",
        /// Thuế.
        Tax = "tax",
        /// Văn phòng đăng ký đất đai and its branches.
        LandOffice = "land-office",
        /// Trung tâm Phục vụ hành chính công.
        Centre = "centre",
        /// A post-office agent point (điểm đại lý bưu điện).
        PostOffice = "post-office",
        /// A bank counter that helps to file.
        Bank = "bank",
        /// A public-service portal.
        Portal = "portal",
        /// A payment platform.
        Payment = "payment",
        /// The public post (bưu chính công ích).
        Post = "post",
        /// Whoever runs the bus.
        Operator = "operator",
    }
}

/// An organisation on the bus (*cơ quan*).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Party {
    /// Its electronic identifier.
    pub id: PartyId,
    /// Its name, in Vietnamese.
    pub name: String,
    /// Its name in English.
    pub name_en: Option<String>,
    /// What it is.
    pub kind: PartyKind,
    /// The unit it sits in or governs; `None` for one that has no place, such as a portal.
    pub unit: Option<UnitCode>,
    /// The units it is competent for, a province standing for all its communes; its own unit when the file names none.
    /// Empty means the whole country.
    pub territory: Vec<UnitCode>,
    /// Whether it officially takes in and hands out (*bộ phận một cửa*).
    pub desk: bool,
    /// Whether it only helps to file (*điểm đại lý*); not a receiving agency.
    pub support_point: bool,
    /// The identifier of its working calendar.
    pub calendar: String,
    /// From which number of a day on its own software numbers what it takes in; `None` when it leaves all to the gateway.
    pub own_numbers_from: Option<u32>,
    /// How much it may admit, where that differs from the others.
    pub quota: Quota,
    /// Who takes over when it ends.
    pub successor: Option<PartyId>,
    /// When it exists.
    pub validity: Validity,
}

/// The calendar of a party that names none.
pub(super) const DEFAULT_CALENDAR: &str = "default";

/// The smallest number at which a range of an authority's own may begin: below it an authority could leave the gateway, and
/// every other desk, without numbers by a slip of the pen.
pub(super) const OWN_NUMBERS_FROM_LEAST: u32 = 5_001;

impl Party {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let id = entry.value("id");
        let name = entry.text("name");
        let name_en = entry.optional_text("name_en");
        let kind = entry.value("kind");
        let unit: Option<UnitCode> = entry.optional("unit");
        let listed = entry.values("territory");
        let territory = if listed.is_empty() { unit.iter().cloned().collect() } else { listed };
        let desk = entry.flag("desk");
        let support_point = entry.flag("support_point");
        let calendar = entry.optional_text("calendar").unwrap_or_else(|| DEFAULT_CALENDAR.to_owned());
        let own_numbers_from = entry.has("own_numbers_from").then(|| entry.number("own_numbers_from")).flatten();
        let own_numbers_from = own_numbers_from.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let quota = Quota::read(entry);
        let successor = entry.optional("successor");
        let validity = entry.validity();
        Some(Self {
            id: id?,
            name: name?,
            name_en,
            kind: kind?,
            unit,
            territory,
            desk,
            support_point,
            calendar,
            own_numbers_from,
            quota,
            successor,
            validity,
        })
    }
}

/// One party, or all parties below one: `H57.101`, `H57.BD.*`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PartyPattern {
    /// Exactly this party.
    One(PartyId),
    /// Every party below this one, at any depth; not itself.
    Below(PartyId),
}

impl PartyPattern {
    /// Whether the pattern names `party`.
    pub fn matches(&self, party: &PartyId) -> bool {
        match self {
            Self::One(one) => one == party,
            Self::Below(root) => root.is_ancestor_of(party),
        }
    }
}

impl FromText for PartyPattern {
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.strip_suffix(".*") {
            Some(root) => PartyId::from_text(root).map(Self::Below),
            None => PartyId::from_text(text).map(Self::One),
        }
    }
}

impl fmt::Display for PartyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(party) => write!(f, "{party}"),
            Self::Below(root) => write!(f, "{root}.*"),
        }
    }
}

/// Software with a certificate (*hệ thống thông tin*), and the parties it acts for.
///
/// Ask [`super::Registry::acts_for`] whether it may: that also knows which parties have succeeded which.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct System {
    /// The name in its certificate's SPIFFE id.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The parties it acts for.
    pub acts_for: Vec<PartyPattern>,
    /// Certificates without a SPIFFE id that mean it.
    pub certificates: Vec<CertificateBinding>,
    /// SPIFFE ids of other forms that mean it.
    pub spiffe_ids: Vec<String>,
    /// How much it may call, where that differs from the others.
    pub quota: Quota,
    /// When it may act.
    pub validity: Validity,
}

impl System {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let name = entry.value::<SystemName>("name");
        let description = entry.text("description");
        let acts_for = entry.values("acts_for");
        let bindings = entry.tables("certificates").into_iter().filter_map(|table| {
            let binding = CertificateBinding::read(&table);
            table.finish();
            binding
        });
        let certificates = bindings.collect();
        let spiffe_ids = entry.values::<ForeignId>("spiffe_ids").into_iter().map(|id| id.0).collect();
        let quota = Quota::read(entry);
        let validity = entry.validity();
        Some(Self { name: name?.0, description: description?, acts_for, certificates, spiffe_ids, quota, validity })
    }
}

/// The form of a system's name, the same that certificates allow: a DNS label.
struct SystemName(String);

impl FromText for SystemName {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.len() <= 63 && !text.starts_with('-') && text.chars().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(
            format!("\"{text}\" không phải tên hệ thống: tối đa 63 ký tự a-z, 0-9, -, không bắt đầu bằng -"),
            format!("\"{text}\" is no name of a system: at most 63 of a-z, 0-9 and -, not beginning with -"),
        ))
    }
}
