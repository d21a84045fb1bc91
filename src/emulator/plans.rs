//! Which buckets the calls of a tenant draw on, by plan (docs: `rate-limit-policy`, `rate-limit-configurations/*`).

use super::options::{Answers, Plan};

/// What a call counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// GET of a user by id, and of all reads of users where they share a bucket.
    ReadUsers,
    /// GET of users by e-mail.
    ReadUsersByEmail,
    /// Search.
    SearchUsers,
    /// POST and PATCH of users.
    WriteUsers,
    /// DELETE of users.
    DeleteUsers,
    /// GET of logs.
    ReadLogs,
    /// GET of connections.
    ReadConnections,
    /// The rest of the Management API: jobs, tickets, roles, sessions and so on, which share a bucket.
    Others,
    /// `/oauth/token`.
    Token,
    /// `/userinfo`, counted per user.
    UserInfo,
    /// `/dbconnections/change_password`, counted per address.
    ChangePassword,
}

impl Class {
    /// The class whose bucket a call draws on: whether reads of users share one is not documented.
    pub(super) fn counted_as(self, answers: &Answers) -> Self {
        match self {
            Self::ReadUsersByEmail | Self::SearchUsers if answers.read_bucket_shared => {
                Self::ReadUsers
            }
            other => other,
        }
    }
}

/// One bucket: how many calls at once, and how many come back in a minute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) name: &'static str,
    pub(super) burst: f64,
    pub(super) per_minute: f64,
    /// Whether each subject (a user, an address) has one.
    each: bool,
}

impl Size {
    /// Whose bucket a call of `subject` draws on; nobody's in particular where all share one.
    pub(super) fn subject<'a>(&self, subject: &'a str) -> &'a str {
        if self.each { subject } else { "" }
    }
}

const fn size(name: &'static str, burst: f64, per_minute: f64) -> Size {
    Size {
        name,
        burst,
        per_minute,
        each: false,
    }
}

const fn each(name: &'static str, burst: f64, per_minute: f64) -> Size {
    Size {
        each: true,
        ..size(name, burst, per_minute)
    }
}

/// The buckets a call takes from, in order. The last one is shown in the headers.
pub(super) fn sizes(plan: Plan, class: Class) -> &'static [Size] {
    const CHANGE_PASSWORD: Size = each("change password", 10.0, 1.0);
    const USER_INFO: Size = each("userinfo", 10.0, 5.0);
    /// The whole Authentication API on the free plan.
    const AUTHENTICATION: Size = size("authentication", 300.0, 300.0);
    match (plan, class) {
        (Plan::Unlimited, _) => &[],
        (Plan::Free, Class::ChangePassword) => const { &[AUTHENTICATION, CHANGE_PASSWORD] },
        (Plan::Free, Class::UserInfo) => const { &[AUTHENTICATION, USER_INFO] },
        (Plan::Free, Class::Token) => const { &[AUTHENTICATION, size("token", 30.0, 1800.0)] },
        (Plan::Free, _) => const { &[size("global", 2.0, 120.0)] },
        (_, Class::ChangePassword) => const { &[CHANGE_PASSWORD] },
        (_, Class::UserInfo) => const { &[USER_INFO] },
        (Plan::Essentials | Plan::Professional, class) => self_service(class),
        (plan, class) => enterprise(plan, class),
    }
}

fn self_service(class: Class) -> &'static [Size] {
    match class {
        Class::Token => const { &[size("token", 25.0, 1500.0)] },
        Class::ReadUsers => const { &[size("read users", 40.0, 500.0)] },
        Class::ReadUsersByEmail => const { &[size("read users by e-mail", 40.0, 500.0)] },
        Class::SearchUsers => const { &[size("search users", 40.0, 500.0)] },
        Class::WriteUsers => const { &[size("write users", 20.0, 200.0)] },
        Class::DeleteUsers => const { &[size("delete users", 20.0, 200.0)] },
        Class::ReadLogs => const { &[size("read logs", 10.0, 100.0)] },
        Class::ReadConnections => const { &[size("read connections", 5.0, 50.0)] },
        _ => const { &[size("others", 10.0, 150.0)] },
    }
}

/// One bucket for the whole Management API. Private clouds are described by a rate only; their burst is taken to be a
/// second of it, and their Authentication API to have the tier's rate.
fn enterprise(plan: Plan, class: Class) -> &'static [Size] {
    match (plan, class) {
        (Plan::PrivateCloudDevelopment, Class::Token) => const { &[size("token", 20.0, 1200.0)] },
        (Plan::PrivateCloud500, Class::Token) => const { &[size("token", 500.0, 30_000.0)] },
        (Plan::PrivateCloud1500, Class::Token) => const { &[size("token", 1500.0, 90_000.0)] },
        (_, Class::Token) => const { &[size("token", 100.0, 6000.0)] },
        (Plan::EnterpriseNonProduction, _) => const { &[size("global", 10.0, 120.0)] },
        (Plan::PrivateCloudDevelopment, _) => const { &[size("global", 20.0, 1200.0)] },
        (Plan::PrivateCloud100, _) => const { &[size("global", 50.0, 3000.0)] },
        (Plan::PrivateCloud500, _) => const { &[size("global", 250.0, 15_000.0)] },
        (Plan::PrivateCloud1500, _) => const { &[size("global", 750.0, 45_000.0)] },
        (_, _) => const { &[size("global", 50.0, 960.0)] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Burst and calls a minute of each bucket a call draws on, in order.
    fn buckets(plan: Plan, class: Class) -> Vec<(u32, u32)> {
        let whole = |calls: f64| {
            assert_eq!(calls.fract(), 0.0);
            calls as u32
        };
        let sizes = sizes(plan, class).iter();
        sizes
            .map(|size| (whole(size.burst), whole(size.per_minute)))
            .collect()
    }

    const MANAGEMENT: [Class; 8] = [
        Class::ReadUsers,
        Class::ReadUsersByEmail,
        Class::SearchUsers,
        Class::WriteUsers,
        Class::DeleteUsers,
        Class::ReadLogs,
        Class::ReadConnections,
        Class::Others,
    ];

    #[test]
    fn a_call_of_any_kind_draws_on_one_bucket_of_its_plan() {
        for (plan, burst, per_minute) in [
            (Plan::Free, 2, 2 * 60),
            (Plan::Enterprise, 50, 16 * 60),
            (Plan::EnterpriseNonProduction, 10, 2 * 60),
            (Plan::PrivateCloudDevelopment, 20, 20 * 60),
            (Plan::PrivateCloud100, 50, 50 * 60),
            (Plan::PrivateCloud500, 250, 250 * 60),
            (Plan::PrivateCloud1500, 750, 750 * 60),
        ] {
            for class in MANAGEMENT {
                assert_eq!(
                    buckets(plan, class),
                    [(burst, per_minute)],
                    "{plan:?}, {class:?}"
                );
                assert_eq!(sizes(plan, class)[0].name, "global", "{plan:?}, {class:?}");
            }
        }
    }

    #[test]
    fn each_kind_of_call_has_a_bucket_of_its_own_on_self_service_plans() {
        let expected = [
            (Class::ReadUsers, 40, 500),
            (Class::ReadUsersByEmail, 40, 500),
            (Class::SearchUsers, 40, 500),
            (Class::WriteUsers, 20, 200),
            (Class::DeleteUsers, 20, 200),
            (Class::ReadLogs, 10, 100),
            (Class::ReadConnections, 5, 50),
            (Class::Others, 10, 150),
        ];
        for plan in [Plan::Essentials, Plan::Professional] {
            for (class, burst, per_minute) in expected {
                assert_eq!(
                    buckets(plan, class),
                    [(burst, per_minute)],
                    "{plan:?}, {class:?}"
                );
            }
            let names = MANAGEMENT.map(|class| sizes(plan, class)[0].name);
            let different: std::collections::BTreeSet<_> = names.into();
            assert_eq!(different.len(), MANAGEMENT.len(), "{plan:?}");
        }
    }

    #[test]
    fn tokens_have_a_bucket_by_plan_and_on_the_free_one_within_that_of_all_authentication() {
        for (plan, expected) in [
            (Plan::Free, &[(300, 300), (30, 30 * 60)][..]),
            (Plan::Essentials, &[(25, 25 * 60)]),
            (Plan::Professional, &[(25, 25 * 60)]),
            (Plan::Enterprise, &[(100, 100 * 60)]),
            (Plan::EnterpriseNonProduction, &[(100, 100 * 60)]),
            (Plan::PrivateCloudDevelopment, &[(20, 20 * 60)]),
            (Plan::PrivateCloud100, &[(100, 100 * 60)]),
            (Plan::PrivateCloud500, &[(500, 500 * 60)]),
            (Plan::PrivateCloud1500, &[(1500, 1500 * 60)]),
        ] {
            assert_eq!(buckets(plan, Class::Token), expected, "{plan:?}");
        }
    }

    #[test]
    fn userinfo_and_password_mails_have_a_bucket_for_each_subject_on_every_plan() {
        for plan in [
            Plan::Free,
            Plan::Essentials,
            Plan::Professional,
            Plan::Enterprise,
            Plan::EnterpriseNonProduction,
            Plan::PrivateCloudDevelopment,
            Plan::PrivateCloud100,
            Plan::PrivateCloud500,
            Plan::PrivateCloud1500,
        ] {
            for (class, own) in [(Class::UserInfo, (10, 5)), (Class::ChangePassword, (10, 1))] {
                let mut expected = vec![own];
                if plan == Plan::Free {
                    expected.insert(0, (300, 300));
                }
                assert_eq!(buckets(plan, class), expected, "{plan:?}, {class:?}");
                let each = sizes(plan, class).iter().map(|size| size.each);
                let expected = (0..expected.len()).map(|at| at + 1 == expected.len());
                assert!(each.eq(expected), "{plan:?}, {class:?}");
            }
        }
    }

    #[test]
    fn the_unlimited_plan_has_no_bucket_at_all() {
        let authentication = [Class::Token, Class::UserInfo, Class::ChangePassword];
        for class in MANAGEMENT.into_iter().chain(authentication) {
            assert!(sizes(Plan::Unlimited, class).is_empty(), "{class:?}");
        }
    }
}
