//! How a dossier comes in and how its result goes out.
//!
//! Owns the numbers on the wire. They differ between the two: direct is 1 on the way in and 0 on the way out.

use std::fmt;
use std::str::FromStr;

use super::malformed::{Malformed, compact, rule};

/// How a dossier was filed (NĐ 118/2025/NĐ-CP Art. 15). The numbers are those of `KenhThucHien` in the portal's dossier synchronisation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum IntakeChannel {
    /// 1, at a desk.
    Direct = 1,
    /// 2, on the National Public Service Portal.
    Online = 2,
    /// 3, by the public postal service.
    Postal = 3,
}

/// How the citizen wants the result (NĐ 118/2025/NĐ-CP Art. 22). The numbers are those of `HinhThuc` in the portal's dossier
/// synchronisation, which has 0 and 1; 2 is ours and must be mapped before it is sent there.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ReturnChannel {
    /// 0, at the desk of the citizen's choice.
    Direct = 0,
    /// 1, by the public postal service.
    Post = 1,
    /// 2, as an electronic result only. Not a number of the portal.
    Online = 2,
}

const INTAKE_UNKNOWN: Malformed = rule(
    "INTAKE_CHANNEL_UNKNOWN",
    "is no intake channel: 1 or direct, 2 or online, 3 or postal",
    "không phải kênh tiếp nhận: 1 hoặc direct (trực tiếp), 2 hoặc online (trực tuyến), 3 hoặc postal (bưu chính)",
);
const RETURN_UNKNOWN: Malformed = rule(
    "RETURN_CHANNEL_UNKNOWN",
    "is no return channel: 0 or direct, 1 or post, 2 or online",
    "không phải hình thức trả kết quả: 0 hoặc direct (trực tiếp), 1 hoặc post (bưu chính), 2 hoặc online (trực tuyến)",
);

impl IntakeChannel {
    /// All three, in the order of their numbers.
    pub const ALL: [IntakeChannel; 3] = [IntakeChannel::Direct, IntakeChannel::Online, IntakeChannel::Postal];

    /// The number on the wire: 1 direct, 2 online, 3 postal.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            IntakeChannel::Direct => "direct",
            IntakeChannel::Online => "online",
            IntakeChannel::Postal => "postal",
        }
    }
}

impl ReturnChannel {
    /// All three, in the order of their numbers.
    pub const ALL: [ReturnChannel; 3] = [ReturnChannel::Direct, ReturnChannel::Post, ReturnChannel::Online];

    /// The number on the wire: 0 direct, 1 post, 2 online (ours).
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReturnChannel::Direct => "direct",
            ReturnChannel::Post => "post",
            ReturnChannel::Online => "online",
        }
    }
}

impl TryFrom<u32> for IntakeChannel {
    type Error = Malformed;

    fn try_from(number: u32) -> Result<Self, Malformed> {
        IntakeChannel::ALL.into_iter().find(|channel| u32::from(channel.number()) == number).ok_or(INTAKE_UNKNOWN)
    }
}

impl TryFrom<u32> for ReturnChannel {
    type Error = Malformed;

    fn try_from(number: u32) -> Result<Self, Malformed> {
        ReturnChannel::ALL.into_iter().find(|channel| u32::from(channel.number()) == number).ok_or(RETURN_UNKNOWN)
    }
}

/// Reads the name or, as the portal writes it, the number.
impl FromStr for IntakeChannel {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        match text {
            "direct" | "1" => Ok(IntakeChannel::Direct),
            "online" | "2" => Ok(IntakeChannel::Online),
            "postal" | "3" => Ok(IntakeChannel::Postal),
            _ => Err(INTAKE_UNKNOWN),
        }
    }
}

/// Reads the name or, as the portal writes it, the number.
impl FromStr for ReturnChannel {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        match text {
            "direct" | "0" => Ok(ReturnChannel::Direct),
            "post" | "1" => Ok(ReturnChannel::Post),
            "online" | "2" => Ok(ReturnChannel::Online),
            _ => Err(RETURN_UNKNOWN),
        }
    }
}

impl TryFrom<&str> for IntakeChannel {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl TryFrom<&str> for ReturnChannel {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl fmt::Display for IntakeChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ReturnChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_comes_back_from_its_name_and_its_number() {
        for channel in IntakeChannel::ALL {
            assert_eq!(channel.to_string().parse(), Ok(channel));
            assert_eq!(channel.number().to_string().parse(), Ok(channel));
            assert_eq!(IntakeChannel::try_from(u32::from(channel.number())), Ok(channel));
        }
        for channel in ReturnChannel::ALL {
            assert_eq!(channel.to_string().parse(), Ok(channel));
            assert_eq!(channel.number().to_string().parse(), Ok(channel));
            assert_eq!(ReturnChannel::try_from(u32::from(channel.number())), Ok(channel));
        }
    }

    #[test]
    fn numbers_are_those_of_the_portal() {
        assert_eq!(IntakeChannel::ALL.map(IntakeChannel::number), [1, 2, 3]);
        assert_eq!(ReturnChannel::ALL.map(ReturnChannel::number), [0, 1, 2]);
        assert_eq!(IntakeChannel::try_from(2), Ok(IntakeChannel::Online));
        assert_eq!(ReturnChannel::try_from(1), Ok(ReturnChannel::Post));
    }

    #[test]
    fn other_channels_are_refused() {
        assert_eq!(IntakeChannel::try_from(0), Err(INTAKE_UNKNOWN));
        assert_eq!(IntakeChannel::try_from(4), Err(INTAKE_UNKNOWN));
        assert_eq!(ReturnChannel::try_from(3), Err(RETURN_UNKNOWN));
        assert_eq!(ReturnChannel::try_from(256), Err(RETURN_UNKNOWN));
        assert_eq!("post".parse::<IntakeChannel>(), Err(INTAKE_UNKNOWN));
        assert_eq!("postal".parse::<ReturnChannel>(), Err(RETURN_UNKNOWN));
        assert_eq!("".parse::<IntakeChannel>(), Err(Malformed::Empty));
        assert_eq!("direct ".parse::<ReturnChannel>(), Err(Malformed::Blank));
    }
}
