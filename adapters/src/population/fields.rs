//! What is known of a citizen: one table of the fields of domain.md §5.1, with the name each has in our reply, in the replica and on the
//! ministry's wire. Owns the reply as JSON, too: a field that may not be told is never written.

/// One field.
pub(super) struct Field {
    /// In the reply: the path of a leaf, at most one object deep.
    pub(super) path: &'static str,
    /// In the replica.
    pub(super) column: &'static str,
    /// On the wire, below `CongDan`; empty where it takes more than copying a text.
    pub(super) element: &'static [&'static str],
}

/// The fields of which more is known than their text.
pub(super) const NUMBER: usize = 0;
pub(super) const OLD_NUMBER: usize = 1;
pub(super) const FULL_NAME: usize = 2;
pub(super) const DATE_OF_BIRTH: usize = 3;
pub(super) const SEX: usize = 4;

macro_rules! fields {
    ($($path:literal $column:ident $($element:literal)* ;)*) => {
        &[$(Field { path: $path, column: stringify!($column), element: &[$($element),*] }),*]
    };
}

/// All fields. The members of one object stand together.
pub(super) const FIELDS: &[Field] = fields![
    "personal_number" number "SoDinhDanh";
    "old_number" old_number "SoCMND";
    "full_name" full_name;
    "date_of_birth" date_of_birth;
    "sex" sex;
    "ethnicity" ethnicity "DanToc";
    "religion" religion "TonGiao";
    "marital_status" marital_status "TinhTrangHonNhan";
    "blood_group" blood_group "NhomMau";
    "nationality" nationality "QuocTich";
    "birthplace.province_code" birthplace_province "NoiDangKyKhaiSinh" "MaTinhThanh";
    "birthplace.commune_code" birthplace_commune "NoiDangKyKhaiSinh" "MaPhuongXa";
    "birthplace.detail" birthplace_detail "NoiDangKyKhaiSinh" "ChiTiet";
    "birthplace.country" birthplace_country "NoiDangKyKhaiSinh" "QuocGia";
    "origin.province_code" origin_province "QueQuan" "MaTinhThanh";
    "origin.commune_code" origin_commune "QueQuan" "MaPhuongXa";
    "origin.detail" origin_detail "QueQuan" "ChiTiet";
    "origin.country" origin_country "QueQuan" "QuocGia";
    "residence.province_code" residence_province "ThuongTru" "MaTinhThanh";
    "residence.commune_code" residence_commune "ThuongTru" "MaPhuongXa";
    "residence.detail" residence_detail "ThuongTru" "ChiTiet";
    "residence.country" residence_country "ThuongTru" "QuocGia";
    "current_place.province_code" current_province "NoiOHienTai" "MaTinhThanh";
    "current_place.commune_code" current_commune "NoiOHienTai" "MaPhuongXa";
    "current_place.detail" current_detail "NoiOHienTai" "ChiTiet";
    "current_place.country" current_country "NoiOHienTai" "QuocGia";
    "father.full_name" father_name "Cha" "HoVaTen";
    "father.nationality" father_nationality "Cha" "QuocTich";
    "father.personal_number" father_number "Cha" "SoDinhDanh";
    "father.old_number" father_old_number "Cha" "SoCMND";
    "mother.full_name" mother_name "Me" "HoVaTen";
    "mother.nationality" mother_nationality "Me" "QuocTich";
    "mother.personal_number" mother_number "Me" "SoDinhDanh";
    "mother.old_number" mother_old_number "Me" "SoCMND";
    "spouse.full_name" spouse_name "VoChong" "HoVaTen";
    "spouse.nationality" spouse_nationality "VoChong" "QuocTich";
    "spouse.personal_number" spouse_number "VoChong" "SoDinhDanh";
    "spouse.old_number" spouse_old_number "VoChong" "SoCMND";
    "representative.full_name" representative_name "NguoiDaiDien" "HoVaTen";
    "representative.nationality" representative_nationality "NguoiDaiDien" "QuocTich";
    "representative.personal_number" representative_number "NguoiDaiDien" "SoDinhDanh";
    "representative.old_number" representative_old_number "NguoiDaiDien" "SoCMND";
    "household.number" household "SoSoHoKhau";
    "household.relation" head_relation "ChuHo" "QuanHe";
    "household.head_name" head_name "ChuHo" "HoVaTen";
    "household.head_number" head_number "ChuHo" "SoDinhDanh";
];

/// A set of fields, a bit for each.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Wanted(u64);

const _: () = assert!(FIELDS.len() <= 64);

impl Wanted {
    /// Those of the names that are fields of a citizen; others are the business of whoever said them.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let at = |name: &str| FIELDS.iter().position(|field| field.path == name);
        names.into_iter().filter_map(at).fold(Self(0), |wanted, at| wanted.with(at))
    }

    /// Every field.
    pub(super) fn all() -> Self {
        (0..FIELDS.len()).fold(Self(0), Self::with)
    }

    pub(super) fn with(self, field: usize) -> Self {
        Self(self.0 | 1 << field)
    }

    pub(super) fn has(self, field: usize) -> bool {
        self.0 & 1 << field != 0
    }

    /// How many of them stand before a field.
    pub(super) fn before(self, field: usize) -> usize {
        (self.0 & ((1 << field) - 1)).count_ones() as usize
    }

    /// Their places in the table, in its order.
    pub(super) fn each(self) -> impl Iterator<Item = usize> {
        (0..FIELDS.len()).filter(move |field| self.has(*field))
    }
}

/// The reply with the wanted fields that there are: `value` tells each, empty is not there.
pub(super) fn reply<'a>(wanted: Wanted, value: impl Fn(usize) -> Option<&'a str>) -> Vec<u8> {
    let mut json = vec![b'{'];
    let mut open = None;
    for field in wanted.each() {
        let Some(text) = value(field).filter(|text| !text.is_empty()) else { continue };
        let (object, name) = match FIELDS[field].path.split_once('.') {
            Some((object, name)) => (Some(object), name),
            None => (None, FIELDS[field].path),
        };
        if open != object {
            if open.is_some() {
                json.push(b'}');
            }
            if let Some(object) = object {
                member(&mut json, object);
                json.push(b'{');
            }
            open = object;
        }
        member(&mut json, name);
        text_into(&mut json, text);
    }
    json.extend(open.map(|_| b'}'));
    json.push(b'}');
    json
}

/// The name of a member, and what stands before it. Names here need no escapes.
pub(super) fn member(json: &mut Vec<u8>, name: &str) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    json.push(b'"');
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(b"\":");
}

/// A text, as JSON writes it.
pub(super) fn text_into(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a text is written to memory");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_field_stands_once_and_the_known_ones_where_they_are_looked_for() {
        let paths: BTreeSet<_> = FIELDS.iter().map(|field| field.path).collect();
        let columns: BTreeSet<_> = FIELDS.iter().map(|field| field.column).collect();
        let elements = FIELDS.iter().map(|field| field.element).filter(|element| !element.is_empty());
        let elements: BTreeSet<_> = elements.collect();
        assert_eq!((paths.len(), columns.len()), (FIELDS.len(), FIELDS.len()));
        assert_eq!(elements.len(), FIELDS.len() - 3);
        let known = [NUMBER, OLD_NUMBER, FULL_NAME, DATE_OF_BIRTH, SEX].map(|field| FIELDS[field].path);
        assert_eq!(known, ["personal_number", "old_number", "full_name", "date_of_birth", "sex"]);
    }

    #[test]
    fn a_reply_has_what_is_wanted_and_there_and_nothing_else() {
        let value = |field: usize| match FIELDS[field].path {
            "full_name" => Some("Trần \"Thử\""),
            "residence.commune_code" => Some("19774"),
            "residence.detail" => Some(""),
            "religion" | "father.full_name" => Some("not asked for"),
            _ => None,
        };
        let wanted = Wanted::of(["full_name", "sex", "residence.commune_code", "residence.detail", "of tomorrow"]);
        let json = String::from_utf8(reply(wanted, value)).unwrap();
        assert_eq!(json, r#"{"full_name":"Trần \"Thử\"","residence":{"commune_code":"19774"}}"#);
        assert_eq!(reply(Wanted::of(["sex"]), value), b"{}");
    }

    #[test]
    fn all_fields_together_are_json_with_a_leaf_for_each() {
        let all = Wanted::of(FIELDS.iter().map(|field| field.path));
        let json: serde_json::Value = serde_json::from_slice(&reply(all, |field| Some(FIELDS[field].column))).unwrap();
        for field in FIELDS {
            let leaf = field.path.split('.').try_fold(&json, |json, name| json.get(name));
            assert_eq!(leaf.and_then(|leaf| leaf.as_str()), Some(field.column), "{}", field.path);
        }
    }
}
