//! Synthetic citizens: numbers of valid structure, names that nobody could take for a person's.

use serde::{Deserialize, Serialize};

use crate::demo::random::Draw;

/// Who asks. Invented throughout.
#[derive(Clone, Deserialize, Serialize)]
pub(in crate::demo) struct Citizen {
    pub(in crate::demo) full_name: String,
    pub(in crate::demo) personal_number: String,
    /// yyyy-mm-dd.
    pub(in crate::demo) date_of_birth: String,
    pub(in crate::demo) sex: String,
    pub(in crate::demo) address: String,
}

const FAMILIES: [&str; 12] =
    ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Võ", "Đặng", "Bùi", "Hồ", "Tôn Thất", "Công Tằng"];
const DIGITS: [&str; 10] = ["Không", "Một", "Hai", "Ba", "Bốn", "Năm", "Sáu", "Bảy", "Tám", "Chín"];

impl Citizen {
    /// The applicant of dossier `number`: "Nguyễn Thị Giả Lập Bốn Hai", with a number of Huế (046) that fits sex and year
    /// of birth (NĐ 137/2015/NĐ-CP Art. 13) and is told apart by the dossier's.
    pub(super) fn invent(number: u32, draw: &mut Draw) -> Self {
        let female = draw.chance(0.5);
        let year = draw.between(1945, 2006);
        // 0 and 1 are men and women born in the 20th century, 2 and 3 in the 21st.
        let century = if year < 2000 { 0 } else { 2 };
        let century_and_sex = century + i64::from(female);
        let spoken: Vec<&str> = number.to_string().bytes().map(|digit| DIGITS[usize::from(digit - b'0')]).collect();
        Self {
            full_name: format!(
                "{} {} Giả Lập {}",
                draw.pick(&FAMILIES),
                if female { "Thị" } else { "Văn" },
                spoken.join(" ")
            ),
            personal_number: format!("046{century_and_sex}{:02}{:06}", year % 100, 900_000 + number % 100_000),
            date_of_birth: format!("{year}-{:02}-{:02}", draw.between(1, 12), draw.between(1, 28)),
            sex: if female { "female" } else { "male" }.to_owned(),
            address: format!("Số {} đường Giả Lập", draw.between(1, 300)),
        }
    }
}

#[cfg(test)]
mod tests {
    use lgsp_proto::types::{Date, PersonalNumber, Sex};

    use super::*;

    #[test]
    fn every_invented_number_fits_its_person() {
        for number in 0..2_000 {
            let citizen = Citizen::invent(number, &mut Draw::new(1, u64::from(number)));
            let personal_number: PersonalNumber = citizen.personal_number.parse().unwrap();
            let born: Date = citizen.date_of_birth.parse().unwrap();
            let sex = if citizen.sex == "female" { Sex::Female } else { Sex::Male };
            assert_eq!(personal_number.cross_check(sex, born), [], "{number}");
        }
    }
}
