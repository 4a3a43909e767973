//! Who is meant by a certificate, who may ask a data service for what, and what changes hands: on the invented province in `fixtures/registry`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod gains;

use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use lgsp_domain::registry::{MissingCall, Names, Problem, ProblemKind, Quota, Registry, Right, Wanted};
use lgsp_proto::Reason;
use lgsp_proto::types::{PartyId, ProcedureCode};
use proptest::prelude::*;

const DAY: Date = date(2025, 7, 14);

type Files = BTreeMap<String, Vec<u8>>;

fn files() -> Files {
    let files = [
        ("parties.toml", include_str!("../fixtures/registry/parties.toml")),
        ("units.toml", include_str!("../fixtures/registry/units.toml")),
        ("procedures.toml", include_str!("../fixtures/registry/procedures.toml")),
        ("routes.toml", include_str!("../fixtures/registry/routes.toml")),
        ("grants.toml", include_str!("../fixtures/registry/grants.toml")),
        ("systems.toml", include_str!("../fixtures/registry/systems.toml")),
        ("calendars.toml", include_str!("../fixtures/registry/calendars.toml")),
    ];
    files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}

fn extended(file: &str, more: &str) -> Files {
    let mut files = files();
    files.get_mut(file).unwrap().extend_from_slice(more.as_bytes());
    files
}

/// The province with these systems beside its own.
fn with_systems(more: &str) -> Result<Registry, Vec<Problem>> {
    let mut files = files();
    let text = String::from_utf8(files["systems.toml"].clone()).unwrap();
    let text = format!("{}{more}\n]\n", text.trim_end().strip_suffix(']').unwrap());
    files.insert("systems.toml".to_owned(), text.into_bytes());
    Registry::parse(&files)
}

fn with_grants(more: &str) -> Result<Registry, Vec<Problem>> {
    Registry::parse(&extended("grants.toml", more))
}

fn party(text: &str) -> PartyId {
    text.parse().unwrap()
}

mod bindings {
    use super::*;

    const KEY: &str = "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff";

    fn key() -> [u8; 32] {
        std::array::from_fn(|at| if at % 2 == 0 { 0x00 } else { 0xff })
    }

    fn bound(name: &str, rest: &str) -> String {
        format!("{{ name = \"{name}\", description = \"x\", acts_for = [\"H99.101\"], {rest} }},\n")
    }

    #[test]
    fn a_certificate_of_another_ca_means_the_system_it_is_bound_to_and_only_that() {
        let certificate = format!("certificates = [{{ issuer = \"CN=Sở CA\", key_sha256 = \"{KEY}\" }}]");
        let registry = with_systems(&bound("so-khac", &format!("{certificate}, valid_to = 2025-12-31"))).unwrap();
        let name = |issuer, key: [u8; 32], day| registry.system_by_certificate(issuer, &key, day).map(|one| &*one.name);
        assert_eq!(name("CN=Sở CA", key(), DAY), Some("so-khac"));
        assert_eq!(name("CN=Khác", key(), DAY), None, "another issuer");
        assert_eq!(name("CN=Sở CA", [1; 32], DAY), None, "another key");
        assert_eq!(name("CN=Sở CA", key(), date(2026, 1, 1)), None, "a system that may act no more");
    }

    #[test]
    fn a_spiffe_id_of_another_form_means_the_system_it_is_bound_to_byte_by_byte() {
        let registry = with_systems(&bound("so-khac", "spiffe_ids = [\"spiffe://khac.example/ns/x/sa/y\"]")).unwrap();
        let name = |id| registry.system_by_spiffe(id, DAY).map(|one| &*one.name);
        assert_eq!(name("spiffe://khac.example/ns/x/sa/y"), Some("so-khac"));
        for other in [
            "spiffe://khac.example/ns/x/sa/Y",
            "spiffe://khac.example/ns/x/sa/y/",
            "spiffe://khac.example/system/mot-cua",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_bound_twice_or_names_a_system_itself_is_a_problem_with_its_line() {
        let certificate =
            |issuer: &str| format!("certificates = [{{ issuer = \"{issuer}\", key_sha256 = \"{KEY}\" }}]");
        let id = |id: &str| format!("spiffe_ids = [\"{id}\"]");
        let two = |first: String, second: String| bound("a", &first) + &bound("b", &second);
        let twice = id("spiffe://khac.example/ns/x\", \"spiffe://khac.example/ns/x");
        for (systems, kind, path) in [
            (two(certificate("CN=A"), certificate("CN=A")), ProblemKind::Duplicate, "system[11].certificates"),
            // One key is one system, whoever signed for it.
            (two(certificate("CN=A"), certificate("CN=B")), ProblemKind::Duplicate, "system[11].certificates"),
            (
                two(id("spiffe://k.example/a"), id("spiffe://k.example/a")),
                ProblemKind::Duplicate,
                "system[11].spiffe_ids",
            ),
            (bound("a", &twice), ProblemKind::Duplicate, "system[10].spiffe_ids"),
            (bound("a", &id("spiffe://k.example/system/mot-cua")), ProblemKind::Malformed, "system[10].spiffe_ids"),
            (bound("a", &id("spiffe://K.example/a")), ProblemKind::Malformed, "system[10].spiffe_ids"),
            (bound("a", &id("spiffe://k.example/a/../b")), ProblemKind::Malformed, "system[10].spiffe_ids"),
            (bound("a", &id("https://k.example/a")), ProblemKind::Malformed, "system[10].spiffe_ids"),
            (
                bound("a", "certificates = [{ issuer = \"CN=A\", key_sha256 = \"00ff\" }]"),
                ProblemKind::Malformed,
                "system[10].certificates[0].key_sha256",
            ),
            (
                bound("a", &format!("certificates = [{{ key_sha256 = \"{KEY}\", colour = 1 }}]")),
                ProblemKind::MissingKey,
                "system[10].certificates[0]",
            ),
        ] {
            let problems = with_systems(&systems).unwrap_err();
            let first = &problems[0];
            assert_eq!((first.kind, first.path.as_str(), first.line.is_some()), (kind, path, true), "{problems:?}");
        }
        let own_twice = format!(
            "certificates = [{{ issuer = \"CN=A\", key_sha256 = \"{KEY}\" }}, {{ issuer = \"CN=B\", key_sha256 = \"{KEY}\" }}]"
        );
        assert!(with_systems(&bound("a", &own_twice)).is_ok(), "a system may have its key certified by two CAs");
    }
}

mod quotas {
    use super::*;

    fn with_quota(quota: &str) -> Result<Registry, Vec<Problem>> {
        with_systems(&format!("{{ name = \"x\", description = \"x\", acts_for = [\"H99.101\"], quota = {quota} }},\n"))
    }

    #[test]
    fn a_quota_says_what_differs_and_leaves_the_rest_to_the_gateway() {
        let of = |quota: &str| with_quota(quota).unwrap().system("x", DAY).unwrap().quota;
        assert_eq!(of("{ per_second = 5, at_once = 2 }"), Quota { per_second: Some(5), at_once: Some(2) });
        assert_eq!(of("{ at_once = 2 }"), Quota { per_second: None, at_once: Some(2) });
        let mut files = files();
        let text = String::from_utf8(files["parties.toml"].clone()).unwrap();
        let from = "unit = \"99001\", desk = true }";
        assert_eq!(text.matches(from).count(), 1);
        let text = text.replace(from, "unit = \"99001\", desk = true, quota = { per_second = 7 } }");
        files.insert("parties.toml".into(), text.into_bytes());
        let registry = Registry::parse(&files).unwrap();
        assert_eq!(registry.party(&party("H99.101")).unwrap().quota, Quota { per_second: Some(7), at_once: None });
        assert_eq!(registry.party(&party("H99.102")).unwrap().quota, Quota::default());
    }

    #[test]
    fn a_quota_of_nothing_or_of_something_else_is_a_problem() {
        for (quota, kind, path) in [
            ("{ per_second = 0 }", ProblemKind::Malformed, "system[10].quota.per_second"),
            ("{ at_once = 1000001 }", ProblemKind::Malformed, "system[10].quota.at_once"),
            ("{ at_once = \"2\" }", ProblemKind::WrongType, "system[10].quota.at_once"),
            ("{ per_minute = 1 }", ProblemKind::UnknownKey, "system[10].quota.per_minute"),
            ("5", ProblemKind::WrongType, "system[10].quota"),
        ] {
            let problems = with_quota(quota).unwrap_err();
            assert_eq!((problems.len(), problems[0].kind, &*problems[0].path), (1, kind, path), "{problems:?}");
        }
    }
}

mod calls {
    use super::*;

    const GRANTS: &str = "
[[grant]]
id = \"an-hoi-dan-cu\"
party = \"H99.101\"
right = \"call\"
service = \"dan-cu-037\"
purposes = [\"doi-chieu\"]
fields = [\"ho-ten\", \"ngay-sinh\"]
procedures = \"any\"
owner = \"H99.CA\"

[[grant]]
id = \"an-hoi-noi-o\"
party = \"H99.101\"
right = \"call\"
service = \"dan-cu-037\"
purposes = [\"doi-chieu\", \"xac-minh\"]
fields = [\"noi-o\"]
procedures = [\"1.000001\"]
owner = \"H99.CA\"

[[grant]]
id = \"so-hoi-tat-ca\"
party = \"H99.01\"
right = \"call\"
service = \"dat-dai\"
purposes = \"any\"
fields = \"any\"
procedures = \"any\"
owner = \"H99.01\"
";

    fn ask(who: &str, service: &str, purpose: &str, fields: &[&str], what: Option<&str>) -> Result<Names, MissingCall> {
        let registry = with_grants(GRANTS).unwrap();
        let what: Option<ProcedureCode> = what.map(|code| code.parse().unwrap());
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let wanted = Wanted { service, purpose, fields: &fields, procedure: what.as_ref() };
        registry.may_call(&party(who), wanted, DAY).map(|grant| grant.fields)
    }

    fn told(fields: &[&str]) -> Names {
        Names::Listed(fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn grants_add_up_each_for_its_own_purposes_procedures_and_fields() {
        let birth = Some("1.000001");
        let all = ["ho-ten", "ngay-sinh", "noi-o"];
        assert_eq!(ask("H99.101", "dan-cu-037", "doi-chieu", &all, birth), Ok(told(&all)));
        assert_eq!(ask("H99.101", "dan-cu-037", "doi-chieu", &[], birth), Ok(told(&all)));
        assert_eq!(ask("H99.101", "dan-cu-037", "xac-minh", &[], birth), Ok(told(&["noi-o"])));
        assert_eq!(ask("H99.101", "dan-cu-037", "doi-chieu", &[], Some("1.000002")), Ok(told(&all[..2])));
        assert_eq!(ask("H99.01", "dat-dai", "bat-ky", &[], None), Ok(Names::Any));
        assert_eq!(ask("H99.01", "dat-dai", "bat-ky", &["thua"], None), Ok(told(&["thua"])));
    }

    #[test]
    fn one_field_too_many_is_refused_and_named_and_so_is_whom_to_ask() {
        let missing = ask("H99.101", "dan-cu-037", "doi-chieu", &["ho-ten", "noi-o"], Some("1.000002")).unwrap_err();
        assert_eq!(missing.fields, ["noi-o"]);
        let refusal = missing.refusal();
        let details: Vec<(&str, &str)> =
            refusal.details().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(refusal.reason(), Reason::GrantMissing);
        assert_eq!(
            details,
            [
                ("fields", "noi-o"),
                ("owner", "H99.CA"),
                ("owner_name", "Công an tỉnh"),
                ("procedure", "1.000002"),
                ("purpose", "doi-chieu"),
                ("right", "call"),
                ("service", "dan-cu-037"),
            ]
        );
    }

    #[test]
    fn without_a_grant_for_party_service_purpose_and_procedure_nothing_may_be_asked() {
        let owner = |missing: MissingCall| missing.owner.unwrap().id.to_string();
        for (who, service, purpose, what, whom) in [
            ("H99.102", "dan-cu-037", "doi-chieu", Some("1.000001"), "H99.CA"),
            ("H99.101", "dan-cu-037", "quang-cao", Some("1.000001"), "H99.CA"),
            ("H99.101", "dat-dai", "doi-chieu", Some("1.000001"), "H99.01"),
            ("H99.77", "dat-dai", "doi-chieu", Some("1.000001"), "H99.01"),
            // A grant for some procedures is none for a question that names none.
            ("H99.101", "dan-cu-037", "xac-minh", None, "H99.CA"),
        ] {
            let missing = ask(who, service, purpose, &[], what).unwrap_err();
            assert!(missing.fields.is_empty());
            assert_eq!(owner(missing), whom, "{who} {service} {purpose}");
        }
        let nobody_calls = Registry::parse(&files()).unwrap();
        let wanted = Wanted { service: "dat-dai", purpose: "x", fields: &[], procedure: None };
        let missing = nobody_calls.may_call(&party("H99.101"), wanted, DAY).unwrap_err();
        assert_eq!(owner(missing), "H99.VH", "whoever keeps the registry");
    }

    #[test]
    fn a_grant_to_call_says_service_purposes_fields_and_procedures() {
        let grant = |rest: &str| {
            format!("\n[[grant]]\nid = \"x\"\nparty = \"H99.101\"\nright = \"call\"\nowner = \"H99.CA\"\n{rest}")
        };
        let whole = ["service = \"a\"", "purposes = \"any\"", "fields = \"any\"", "procedures = \"any\""];
        assert!(with_grants(&grant(&whole.join("\n"))).is_ok());
        for left_out in 0..whole.len() {
            let mut rest = whole.to_vec();
            rest.remove(left_out);
            let problems = with_grants(&grant(&rest.join("\n"))).unwrap_err();
            assert_eq!((problems.len(), problems[0].kind), (1, ProblemKind::MissingKey), "{problems:?}");
        }
        for (line, with) in
            [(0, "service = \"a b\""), (1, "purposes = []"), (2, "fields = \"all\""), (2, "fields = [\"\"]")]
        {
            let mut rest = whole.to_vec();
            rest[line] = with;
            let problems = with_grants(&grant(&rest.join("\n"))).unwrap_err();
            assert_eq!((problems.len(), problems[0].kind), (1, ProblemKind::Malformed), "{problems:?}");
        }
        // The keys of a call belong to no other grant.
        let other =
            "\n[[grant]]\nid = \"x\"\nparty = \"H99.101\"\nright = \"operate\"\nowner = \"H99.CA\"\nservice = \"a\"\n";
        assert_eq!(with_grants(other).unwrap_err()[0].kind, ProblemKind::UnknownKey);
    }

    #[test]
    fn certify_is_not_about_procedures() {
        let grant = |rest: &str| {
            format!("\n[[grant]]\nid = \"x\"\nparty = \"H99.VH\"\nright = \"certify\"\nowner = \"H99.VH\"\n{rest}")
        };
        let registry = with_grants(&grant("")).unwrap();
        assert!(registry.grant(&party("H99.VH"), Right::Certify, None, DAY).is_ok());
        assert!(registry.grant(&party("H99.101"), Right::Certify, None, DAY).is_err());
        let narrowed = with_grants(&grant("procedures = [\"1.000001\"]")).unwrap_err();
        assert_eq!(narrowed[0].kind, ProblemKind::Contradiction);
    }
}
