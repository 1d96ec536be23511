//! Seconds since 1970 as a date and a time of day, and back, by the Gregorian calendar.

/// A date and a time of day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// 0 to 9999.
    pub year: u32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(month: u8, year: u32) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of `year` (1970 or later).
fn days_before(year: u32) -> u64 {
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let y = u64::from(year).max(1970);
    (y - 1970) * 365 + leaps(y - 1) - leaps(1969)
}

impl Calendar {
    /// The date `seconds` after 1970-01-01 00:00:00; the year stops at 9999.
    pub fn of_unix(seconds: u64) -> Calendar {
        let day = seconds / 86_400;
        let mut year = (1970 + day / 366).min(9999) as u32;
        while year < 9999 && days_before(year + 1) <= day {
            year += 1;
        }
        let mut rest = day - days_before(year);
        let mut month = 1;
        while month < 12 && rest >= u64::from(days_in(month, year)) {
            rest -= u64::from(days_in(month, year));
            month += 1;
        }
        let of_day = seconds % 86_400;
        Calendar {
            year,
            month,
            day: rest.min(30) as u8 + 1,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
        }
    }

    /// Seconds since 1970-01-01 00:00:00; years before that count as 1970.
    pub fn to_unix(self) -> u64 {
        let months: u64 = (1..self.month).map(|m| u64::from(days_in(m, self.year))).sum();
        let days = days_before(self.year) + months + u64::from(self.day) - 1;
        days * 86_400 + u64::from(self.hour) * 3600 + u64::from(self.minute) * 60 + u64::from(self.second)
    }

    /// The same with every field brought into its range.
    pub fn in_range(self) -> Calendar {
        let year = self.year.clamp(1970, 9999);
        let month = self.month.clamp(1, 12);
        Calendar {
            year,
            month,
            day: self.day.clamp(1, days_in(month, year)),
            hour: self.hour.min(23),
            minute: self.minute.min(59),
            second: self.second.min(59),
        }
    }

    /// 1 for Sunday to 7 for Saturday. 1970-01-01 was a Thursday.
    pub fn weekday(self) -> u8 {
        ((self.to_unix() / 86_400 + 4) % 7) as u8 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let date = |year, month, day, hour, minute, second| Calendar { year, month, day, hour, minute, second };
        for (unix, calendar, weekday) in [
            (0, date(1970, 1, 1, 0, 0, 0), 5),
            (951_782_400, date(2000, 2, 29, 0, 0, 0), 3),
            (1_767_225_600, date(2026, 1, 1, 0, 0, 0), 5),
            (1_709_251_199, date(2024, 2, 29, 23, 59, 59), 5),
            (4_107_542_400, date(2100, 3, 1, 0, 0, 0), 2),
        ] {
            assert_eq!(Calendar::of_unix(unix), calendar);
            assert_eq!(calendar.to_unix(), unix);
            assert_eq!(calendar.weekday(), weekday, "{calendar:?}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_goes_there_and_back() {
        for day in 0..300_000 {
            let unix = day * 86_400 + day % 86_400;
            let calendar = Calendar::of_unix(unix);
            assert_eq!(calendar.to_unix(), unix);
            assert_eq!(calendar.in_range(), calendar);
        }
    }
}
