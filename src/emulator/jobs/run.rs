//! Doing the jobs that are due.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    export::Export,
    file,
    import::Import,
    queue::{Claimed, Task},
    records,
};
use crate::emulator::{
    mailbox::{Mail, MailKind},
    tenant::{Guard, SharedGuard, Tenant},
};

/// Does what is due and comes back when it is done; the files of exports are only begun.
pub(in crate::emulator) async fn settle(tenant: &Arc<Tenant>) {
    let takes = tenant.options().jobs.duration_ms;
    let takes = SignedDuration::from_millis(i64::try_from(takes).unwrap_or(i64::MAX));
    let claimed = tenant.jobs.claim_due(takes, tenant.clock.now());
    if claimed.is_empty() {
        return;
    }
    let mut soon = Vec::new();
    for Claimed { id, task } in claimed {
        match task {
            Task::Export(export) => {
                tokio::spawn(export_users(tenant.clone(), id, export));
            }
            task => soon.push((id, task)),
        }
    }
    let tenant = tenant.clone();
    // A thread of its own, which goes on when whoever asked has gone.
    let work = tokio::task::spawn_blocking(move || {
        for (id, task) in soon {
            match task {
                Task::Import(import) => import_users(&tenant, &id, &import),
                Task::VerificationMail(user_id) => mail(&tenant, &id, &user_id),
                Task::Export(_) => {}
            }
        }
    });
    let _ = work.await;
}

fn import_users(tenant: &Tenant, id: &str, import: &Import) {
    match serde_json::from_slice::<Vec<Value>>(&import.users) {
        Err(_) => tenant.jobs.fail(id, Some(UNREADABLE)),
        Ok(records) => {
            let options = tenant.options();
            let now = tenant.clock.now();
            let imported = records::import(
                records,
                import,
                &mut tenant.directory.write_guard(),
                &options,
                now,
            );
            if options.answers.import_mails {
                for user in imported.inserted.iter().filter(|user| !user.email_verified) {
                    tenant.mail(MailKind::VerifyEmail, user);
                }
            }
            tenant.jobs.end_import(id, imported);
        }
    }
    if import.mails_completion {
        tenant.mailbox.guard().deliver(Mail {
            kind: MailKind::ImportCompleted,
            to: "owners of the tenant".into(),
            user_id: None,
            link: None,
            sent_at: tenant.clock.now(),
        });
    }
}

/// What Auth0 says of a file that is no JSON array.
const UNREADABLE: &str =
    "Failed to parse users file JSON when importing users. Make sure it is valid JSON.";

/// Sends the mail, or fails without a word, as has been recorded.
fn mail(tenant: &Tenant, id: &str, user_id: &str) {
    let user = tenant.directory.read_guard().get(user_id).cloned();
    match user {
        Some(user) if !tenant.options().jobs.verification_fails => {
            tenant.mail(MailKind::VerifyEmail, &user);
            tenant.jobs.end_mail(id);
        }
        _ => tenant.jobs.fail(id, None),
    }
}

/// Makes the file from the users there are when its turn comes. Writers wait only while the list of users is copied.
async fn export_users(tenant: Arc<Tenant>, id: String, export: Arc<Export>) {
    let Ok(_turn) = tenant.jobs.turn.clone().acquire_owned().await else {
        return;
    };
    let work = tokio::task::spawn_blocking(move || {
        let now = tenant.clock.now();
        let users = tenant.directory.read_guard().exported(now);
        match file::write(users, &export) {
            Ok(file) => tenant.jobs.end_export(&id, file.into()),
            Err(_) => tenant.jobs.fail(&id, None),
        }
    });
    let _ = work.await;
}
