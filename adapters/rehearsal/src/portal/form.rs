//! The forms and lengths of the fields, as the practice of provinces has them.

use serde_json::Value;

/// Whether a record has its form.
///
/// # Errors
/// The first field that has not.
pub(super) fn record(record: &Value) -> Result<(), &'static str> {
    for field in ["MaHoSo", "MaTTHC", "ChuHoSo", "NgayTiepNhan", "DonViXuLy"] {
        text(record, field, 500)?;
        if record[field] == "" {
            return Err(field);
        }
    }
    for field in
        ["TenTTHC", "MaLinhVuc", "TenLinhVuc", "SoGiayToChuHoSo", "Email", "SoDienThoai", "ThongTinTra", "GhiChu"]
    {
        text(record, field, 2000)?;
    }
    text(record, "TrichYeuHoSo", 1000)?;
    for (field, values) in [
        ("KenhThucHien", &["1", "2", "3"][..]),
        ("LoaiDoiTuong", &["1", "2", "3", "4"]),
        ("TrangThaiHoSo", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]),
        ("HinhThuc", &["0", "1"]),
        ("NoiNopHoSo", &["1", "2"]),
        ("HoSoCoThanhPhanSoHoa", &["0", "1"]),
        ("TaiKhoanDuocXacThucVoiVNeID", &["0", "1"]),
        ("DuocThanhToanTrucTuyen", &["0", "1", "3"]),
    ] {
        if !values.iter().any(|value| record[field] == *value) {
            return Err(field);
        }
    }
    for field in ["NgayNopHoSo", "NgayTiepNhan", "NgayHenTra", "NgayKetThucXuLy", "NgayTra", "NgayTuChoi"] {
        time(record, field)?;
    }
    for identity in list(record, "DinhDanhCHS")? {
        let number = identity["SoDinhDanh"].as_str().unwrap_or_default();
        let length = match identity["LoaiDinhDanh"].as_str() {
            Some("1") => 12,
            Some("2") => 9,
            _ => return Err("LoaiDinhDanh"),
        };
        if number.len() != length || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("SoDinhDanh");
        }
    }
    for paper in list(record, "TaiLieuNop")? {
        text(paper, "TenTepDinhKem", 4000)?;
        text(paper, "DuongDanTaiTepTin", 4000)?;
    }
    for paper in list(record, "DanhSachGiayToKetQua")? {
        text(paper, "TenGiayTo", 2000)?;
    }
    for supplement in list(record, "DanhSachHoSoBoSung")? {
        if !supplement["HoSoBoSungId"].is_u64() {
            return Err("HoSoBoSungId");
        }
        time(supplement, "NgayBoSung")?;
        time(supplement, "NgayTiepNhanBoSung")?;
    }
    list(record, "DanhSachLePhi").map(drop)
}

/// Whether a step has its form.
///
/// # Errors
/// The first field that has not.
pub(super) fn step(step: &Value) -> Result<(), &'static str> {
    text(step, "NguoiXuLy", 50)?;
    for field in ["MaHoSo", "ChucDanh", "PhongBanXuLy", "NoiDungXuLy"] {
        text(step, field, 2000)?;
    }
    for field in ["ThoiDiemXuLy", "NgayBatDau", "NgayKetThucTheoQuyDinh"] {
        time(step, field)?;
    }
    let is_status =
        step["TrangThai"].as_str().and_then(|status| status.parse::<u8>().ok()).is_some_and(|n| (1..=10).contains(&n));
    if is_status { Ok(()) } else { Err("TrangThai") }
}

fn text(of: &Value, field: &'static str, most: usize) -> Result<(), &'static str> {
    of[field].as_str().filter(|text| text.chars().count() <= most).map(drop).ok_or(field)
}

/// `yyyyMMddHHmmss`, or nothing.
fn time(of: &Value, field: &'static str) -> Result<(), &'static str> {
    let text = of[field].as_str().ok_or(field)?;
    if text.is_empty() {
        return Ok(());
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u32>().ok());
    let is_within = |from, to, least, most| number(from, to).is_some_and(|number| (least..=most).contains(&number));
    let holds = text.len() == 14
        && is_within(0, 4, 1900, 2999)
        && is_within(4, 6, 1, 12)
        && is_within(6, 8, 1, 31)
        && is_within(8, 10, 0, 23)
        && is_within(10, 12, 0, 59)
        && is_within(12, 14, 0, 59);
    if holds { Ok(()) } else { Err(field) }
}

fn list<'a>(of: &'a Value, field: &'static str) -> Result<&'a Vec<Value>, &'static str> {
    of[field].as_array().ok_or(field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_has_fourteen_digits_of_a_clock_or_nothing() {
        let of = |text: &str| time(&json!({ "NgayTra": text }), "NgayTra").is_ok();
        assert!(of("") && of("20250714090000"));
        for wrong in ["2025-07-14T09:00:00+07:00", "20251314090000", "20250714240000", "202507140900"] {
            assert!(!of(wrong), "{wrong}");
        }
    }
}
