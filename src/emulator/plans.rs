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
