//! `daemon.beanstalk` and the key beside it: where beanstalkd's protocol is spoken, and who comes there.

use super::paths::Surroundings;
use super::place::Place;
use super::problem::Report;
use super::raw::Section;

/// Where beanstalkd's protocol is spoken, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeanstalkPlace {
    /// `beanstalk`: where.
    pub place: Place,
    /// `beanstalk_user`: the user whom everybody stands for who comes by TCP. There is one unless the place is a socket, where the
    /// kernel says who comes.
    pub user: Option<u32>,
}

/// Places as they are written.
const EXAMPLES: (&str, &str) = ("127.0.0.1:11300", "/run/musher/beanstalk.sock");

/// Reads the two keys.
pub(super) fn beanstalk(
    section: &mut Section<'_>,
    around: &Surroundings,
    report: &mut Report<'_>,
) -> Option<BeanstalkPlace> {
    let user = section.text(report, "beanstalk_user").map(str::to_owned);
    let user = user.as_deref().and_then(|name| match name.parse().ok().or_else(|| (around.user)(name)) {
        Some(uid) => Some(uid),
        None => {
            let message = format!("there is no user `{}` on this machine", name.escape_debug());
            section.fault(report, "beanstalk_user", message);
            None
        }
    });
    let Some(text) = section.text(report, "beanstalk") else {
        if section.has("beanstalk_user") && !section.has("beanstalk") {
            let message = "is of no use without daemon.beanstalk: set that, or remove it";
            section.fault(report, "beanstalk_user", message);
        }
        return None;
    };
    let place =
        Place::read(text, EXAMPLES).inspect_err(|why| section.fault(report, "beanstalk", why)).ok()?;
    match &place {
        Place::Socket(_) if section.has("beanstalk_user") => {
            let message = "is of no use on a Unix socket, where the kernel says who comes: remove it";
            section.fault(report, "beanstalk_user", message);
        }
        Place::Address(address) if !address.ip().is_loopback() => {
            let message = "must be an address of this machine's own, such as 127.0.0.1: the protocol has neither passwords nor \
                           encryption";
            section.fault(report, "beanstalk", message);
        }
        Place::Address(_) if !section.has("beanstalk_user") => {
            let message = "needs daemon.beanstalk_user: by TCP nobody says who he is, so all who connect stand for one user, with what \
                           [[access]] allows that user";
            section.fault(report, "beanstalk", message);
        }
        _ => {}
    }
    Some(BeanstalkPlace { place, user })
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{config, parse};

    #[test]
    fn an_address_needs_a_user_and_a_socket_needs_none() {
        let served = |lines: &str| config(&format!("[daemon]\n{lines}\n")).daemon.beanstalk.unwrap();
        let by_tcp = served("beanstalk = \"127.0.0.1:11300\"\nbeanstalk_user = \"7\"");
        assert_eq!((by_tcp.place.to_string().as_str(), by_tcp.user), ("127.0.0.1:11300", Some(7)));
        assert_eq!(served("beanstalk = \"/run/b.sock\"").user, None);
    }

    #[test]
    fn mistakes_are_told() {
        for (lines, told) in [
            ("beanstalk = \"127.0.0.1:11300\"", "needs daemon.beanstalk_user"),
            ("beanstalk = \"0.0.0.0:11300\"\nbeanstalk_user = \"7\"", "of this machine's own"),
            ("beanstalk = \"/b\"\nbeanstalk_user = \"7\"", "of no use on a Unix socket"),
            ("beanstalk_user = \"7\"", "of no use without daemon.beanstalk"),
            ("beanstalk = \"127.0.0.1:1\"\nbeanstalk_user = \"no one\"", "there is no user `no one`"),
            ("beanstalk = \"11300\"", "must be an address and a port"),
        ] {
            let errors = parse(&format!("[daemon]\n{lines}\n")).unwrap_err().to_string();
            assert!(errors.contains(told), "{lines}: {errors}");
        }
    }
}
