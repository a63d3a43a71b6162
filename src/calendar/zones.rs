//! Time zones by their names: as the system knows them, else as this program does.

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A zone by its name.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    // Other names than those of the database, such as a POSIX rule, are not for people.
    TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)).ok()
}

/// The name of the system's own zone; UTC if it has none with a name.
pub(crate) fn system_zone() -> String {
    TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}
