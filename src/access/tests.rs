//! The table of who may do what, cell by cell.

use super::*;

const OWN: u32 = 900;
const ALICE: u32 = 1000;
const BOB: u32 = 1001;
const MAILERS: u32 = 2000;

fn caller(uid: u32, groups: &[u32]) -> Caller {
    Caller { uid, groups: groups.to_vec() }
}

fn rule(who: &str, queues: &[&str], may: &[Right]) -> Rule {
    Rule {
        everybody: who == "everybody",
        users: if who == "alice" { vec![ALICE] } else { Vec::new() },
        groups: if who == "mailers" { vec![MAILERS] } else { Vec::new() },
        queues: queues.iter().map(|queue| Pattern::new(queue).unwrap()).collect(),
        may: may.to_vec(),
    }
}

fn access(rules: Vec<Rule>) -> Access {
    Access::new(OWN, Some(rules))
}

/// Each right of a rule against each right that is asked for: a row is a rule, a column is a question.
#[test]
fn each_right_allows_itself_and_admin_allows_all() {
    use Right::{Admin, Read, Submit, Work};
    #[rustfmt::skip]
    let table = [
        //                    submit work   read   admin
        (&[][..],            [false, false, false, false]),
        (&[Submit],          [true,  false, false, false]),
        (&[Work],            [false, true,  false, false]),
        (&[Read],            [false, false, true,  false]),
        (&[Admin],           [true,  true,  true,  true]),
        (&[Submit, Read],    [true,  false, true,  false]),
        (&[Work, Read],      [false, true,  true,  false]),
    ];
    for (may, answers) in table {
        for who in ["alice", "mailers", "everybody"] {
            let access = access(vec![rule(who, &["mails"], may)]);
            // Whom the rule names, and whom it does not.
            for (caller, named) in [
                (caller(ALICE, &[ALICE]), who != "mailers"),
                (caller(BOB, &[BOB, MAILERS]), who != "alice"),
                (caller(BOB, &[BOB]), who == "everybody"),
            ] {
                for (right, answer) in Right::ALL.into_iter().zip(answers) {
                    let cell = format!("{who} {may:?} {caller:?} {right:?}");
                    assert_eq!(access.may(&caller, right, "mails"), answer && named, "{cell}");
                    assert!(!access.may(&caller, right, "bills"), "{cell}");
                    assert!(!access.may_everywhere(&caller, right), "{cell}");
                }
                assert_eq!(access.knows(&caller, "mails"), named && !may.is_empty(), "{who} {may:?}");
                assert!(!access.knows(&caller, "bills"));
            }
        }
    }
}

#[test]
fn the_daemons_own_user_and_root_may_do_everything() {
    for access in [access(Vec::new()), Access::new(OWN, None)] {
        for uid in [0, OWN] {
            let caller = caller(uid, &[]);
            for right in Right::ALL {
                assert!(access.may(&caller, right, "mails") && access.may_everywhere(&caller, right));
            }
            assert!(access.may_read(&caller, ALICE, "mails"));
            assert!(access.may_change(&caller, ALICE, "mails", true));
            assert!(access.is_open_to(&caller));
        }
        assert!(!access.is_open_to(&caller(ALICE, &[0, OWN])), "groups have nothing to do with it");
    }
}

#[test]
fn without_rules_others_may_submit_everywhere_and_nothing_else() {
    let access = Access::new(OWN, None);
    let alice = caller(ALICE, &[]);
    let answers = Right::ALL.map(|right| access.may(&alice, right, "mails"));
    assert_eq!(answers, [true, false, false, false]);
    assert!(access.may_everywhere(&alice, Right::Submit));
}

#[test]
fn with_rules_that_name_others_nothing_is_allowed() {
    for access in [access(Vec::new()), access(vec![rule("mailers", &["*"], &Right::ALL)])] {
        for right in Right::ALL {
            assert!(!access.may(&caller(ALICE, &[ALICE]), right, "mails"));
            assert!(!access.may_everywhere(&caller(ALICE, &[ALICE]), right));
        }
    }
}

#[test]
fn every_queue_is_more_than_each_queue_of_now() {
    let everywhere = |queues: &[&str]| {
        access(vec![rule("alice", queues, &[Right::Read])]).may_everywhere(&caller(ALICE, &[]), Right::Read)
    };
    assert_eq!([everywhere(&["*"]), everywhere(&["a*", "b"]), everywhere(&["a", "*"])], [true, false, true]);
}

/// Rules add up: none takes away what another gives.
#[test]
fn rules_add_up_whatever_their_order() {
    let mut rules = vec![
        rule("alice", &["mails"], &[Right::Submit]),
        rule("everybody", &["m*"], &[Right::Read]),
        rule("mailers", &["mails", "bills"], &[Right::Work]),
    ];
    for _ in 0..2 {
        let access = access(rules.clone());
        let alice = caller(ALICE, &[MAILERS]);
        let answers = |queue| Right::ALL.map(|right| access.may(&alice, right, queue));
        assert_eq!(answers("mails"), [true, true, true, false]);
        assert_eq!(answers("bills"), [false, true, false, false]);
        assert_eq!(answers("misc"), [false, false, true, false]);
        rules.reverse();
    }
}

/// What a right at its queue means for a job: the owner's, and somebody else's.
#[test]
fn a_job_belongs_to_whoever_submitted_it() {
    use Right::{Admin, Read, Submit, Work};
    #[rustfmt::skip]
    let table = [
        //               his own job                  somebody else's
        //               read   change to_run         read   change to_run
        (&[][..],      [true,  true,  false],       [false, false, false]),
        (&[Submit],    [true,  true,  true],        [false, false, false]),
        (&[Work],      [true,  true,  false],       [false, false, false]),
        (&[Read],      [true,  true,  false],       [true,  false, false]),
        (&[Admin],     [true,  true,  true],        [true,  true,  true]),
    ];
    for (may, own, others) in table {
        let access = access(vec![rule("alice", &["mails"], may)]);
        let alice = caller(ALICE, &[]);
        for (owner, answers) in [(ALICE, own), (BOB, others)] {
            let found = [
                access.may_read(&alice, owner, "mails"),
                access.may_change(&alice, owner, "mails", false),
                access.may_change(&alice, owner, "mails", true),
            ];
            assert_eq!(found, answers, "{may:?}, the job of {owner}");
        }
    }
}

#[test]
fn a_refusal_names_the_rule_that_is_missing() {
    let denied = Denied { uid: 1000, right: Right::Submit, queue: Some("mails".into()) };
    assert_eq!(
        denied.to_string(),
        "you (uid 1000) may not submit to queue `mails`: a rule in the daemon's configuration can allow it: \
         [[access]] users = [1000], queues = [\"mails\"], may = [\"submit\"]"
    );
    let denied = Denied { uid: 1000, right: Right::Admin, queue: None };
    assert!(denied.to_string().starts_with("you (uid 1000) may not change the whole daemon: "), "{denied}");
    assert!(denied.to_string().ends_with("queues = [\"*\"], may = [\"admin\"]"), "{denied}");
}
