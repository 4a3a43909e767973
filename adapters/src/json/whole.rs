//! Whole numbers as JSON has them: `3` and `3.0` are one number, and some languages write the second.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// A number of the type, however it is written.
///
/// # Errors
/// It has a fraction or a sign, or is too large for the type.
pub(crate) fn whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Whole(PhantomData))
}

/// The same where null is as good as nothing.
///
/// # Errors
/// As for [`whole`].
pub(crate) fn whole_or_null<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    from.deserialize_option(OrNull(PhantomData))
}

struct Whole<T>(PhantomData<T>);

struct OrNull<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        number.try_into().map_err(|_| E::invalid_value(Unexpected::Other("number"), &"a smaller whole number"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        // 2^64 is the first that has no place; below it the conversion is exact.
        if number.fract() != 0.0 || !(0.0..18_446_744_073_709_551_616.0).contains(&number) {
            return Err(E::invalid_value(Unexpected::Other("number"), &self));
        }
        self.visit_u64(number as u64)
    }
}

impl<'de, T: TryFrom<u64>> Visitor<'de> for OrNull<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<T>, D::Error> {
        whole(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Numbers {
        #[serde(deserialize_with = "whole")]
        small: u32,
        #[serde(deserialize_with = "whole_or_null")]
        large: Option<u64>,
    }

    #[test]
    fn a_whole_number_is_one_number_however_it_is_written() {
        let read = |text: &str| serde_json::from_str::<Numbers>(text).ok();
        let numbers = |small, large| Some(Numbers { small, large });
        assert_eq!(read(r#"{"small": 3, "large": 3.0}"#), numbers(3, Some(3)));
        assert_eq!(
            read(r#"{"small": 4294967295.0, "large": 18446744073709551615}"#),
            numbers(u32::MAX, Some(u64::MAX))
        );
        assert_eq!(read(r#"{"small": 1e3, "large": null}"#), numbers(1000, None));
        assert_eq!(read("{}"), numbers(0, None));
        for wrong in ["3.5", "-1", "-1.0", "4294967296.0", "4294967296", "\"3\"", "null", "true"] {
            assert_eq!(read(&format!("{{\"small\": {wrong}}}")), None, "{wrong}");
        }
        for wrong in ["18446744073709551616", "1e300", "[3]"] {
            assert_eq!(read(&format!("{{\"large\": {wrong}}}")), None, "{wrong}");
        }
    }
}
