//! `POST /access/v1/search/…`: who may do that, on what, and what may be done?
//!
//! Whoever and whatever is found would be permitted by an evaluation: subjects are evaluated before they are told, and resources
//! and actions are read out of the very permissions that an evaluation looks at. So only resources that a permission names
//! are found; that the user may use all others too stands in `context`.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use warp::http::{Response, StatusCode};

use super::{super::answer::json_response, parse};
use crate::{
    authz::{
        authzen::{
            actions,
            callers::Asker,
            enough,
            page::Place,
            permits, permits_on_every,
            request::{
                ACTION, Action, ActionSearch, CONTEXT, FoundAction, FoundEntity, NextPage, PAGE,
                RESOURCE, RESOURCE_TYPE, Resource, ResourceContext, ResourceSearch, Results,
                SUBJECT, SUBJECT_TYPE, Subject, SubjectSearch,
            },
            resources,
            subjects::{IDENTITY, USER},
        },
        rejection::Refusal,
        trail::Trail,
    },
    db::directory::search::{Holder, candidates},
};

/// Users looked at by the first statement of a search, and by any one of them.
const FIRST_LOOK: usize = 256;
const MOST_AT_ONCE: usize = 4 * 1024;
/// A search that has taken so long tells what it has, and where to go on.
const BUDGET: Duration = Duration::from_millis(500);

/// `POST /access/v1/search/subject`
pub(super) async fn subject(
    trail: &Trail<'_>,
    asker: &Asker,
    body: &[u8],
) -> Result<Response<String>, Refusal> {
    if let Asker::Person(person) = asker
        && !person.may_ask_about_others()
    {
        return Err(Refusal::CallerNotAllowed);
    }
    let asked: SubjectSearch = parse(body)?;
    let read = || {
        let kind = asked.subject.required(SUBJECT_TYPE)?;
        let action = asked.action.required(ACTION)?;
        let resource = asked.resource.required(RESOURCE)?;
        let context = asked.context.optional(CONTEXT)?;
        let page = asked.page.optional(PAGE)?;
        let place = Place::new(page, &("subject", kind, action, resource, context))?;
        Ok((kind.r#type.as_str(), action, resource, place))
    };
    let (kind, action, resource, place) = read().map_err(Refusal::Malformed)?;
    let (found, next_token) = match kind {
        USER | IDENTITY => holding(trail, kind, action, resource, &place).await?,
        _ => Default::default(),
    };
    Ok(results(found, next_token, None, |id| FoundEntity {
        r#type: kind.to_owned(),
        id,
    }))
}

/// Looks at users in the order of their keys, more at a time while few of them are found.
async fn holding(
    trail: &Trail<'_>,
    kind: &str,
    action: &Action,
    resource: &Resource,
    place: &Place,
) -> Result<(Vec<String>, String), Refusal> {
    let authz = trail.authz;
    let format = &authz.settings.permission_format;
    let wanted = enough(format, &action.name, &resource.r#type, &resource.id);
    let mut found = Vec::new();
    if wanted.is_empty() {
        return Ok((found, String::new()));
    }
    let deadline = Instant::now() + BUDGET;
    let (mut after, mut count) = (place.after.clone(), FIRST_LOOK);
    loop {
        let mut looked = candidates(&authz.pool, &after, count, &wanted).await?;
        let room = place.limit - found.len();
        let more_than_fit = looked.holding.len() > room;
        looked.holding.truncate(room);
        let last = looked.holding.last().map(|(key, _)| key);
        let Some(end) = last.filter(|_| more_than_fit).or(looked.last.as_ref()) else {
            return Ok((found, String::new()));
        };
        after.clone_from(&end.0);
        let subjects: Vec<Subject> = looked
            .holding
            .into_iter()
            .filter_map(|(key, account)| match kind {
                USER => Some(Subject::new(kind, key.0)),
                _ => Some(Subject::new(kind, account?)),
            })
            .collect();
        let asked: Vec<&Subject> = subjects.iter().collect();
        let holders = authz.holders(&Asker::Program, &asked, trail).await?;
        let is_permitted = |holder: Option<Holder>| {
            holder.is_some_and(|holder| {
                let (kind, id) = (&resource.r#type, &resource.id);
                permits(format, &holder.permissions, &action.name, kind, id)
            })
        };
        let evaluated = subjects.into_iter().zip(holders);
        found.extend(evaluated.filter_map(|(s, holder)| is_permitted(holder).then_some(s.id)));

        let at_the_end = !more_than_fit && looked.looked < count;
        if at_the_end {
            return Ok((found, String::new()));
        }
        if more_than_fit || found.len() == place.limit || Instant::now() >= deadline {
            return Ok((found, place.next(&after)));
        }
        count = (count * 4).min(MOST_AT_ONCE);
    }
}

/// `POST /access/v1/search/resource`
pub(super) async fn resource(
    trail: &Trail<'_>,
    asker: &Asker,
    body: &[u8],
) -> Result<Response<String>, Refusal> {
    let asked: ResourceSearch = parse(body)?;
    let read = || {
        let subject = asked.subject.required(SUBJECT)?;
        let action = asked.action.required(ACTION)?;
        let kind = asked.resource.required(RESOURCE_TYPE)?;
        let context = asked.context.optional(CONTEXT)?;
        let page = asked.page.optional(PAGE)?;
        let place = Place::new(page, &("resource", subject, action, kind, context))?;
        Ok((subject, &action.name, &kind.r#type, place))
    };
    let (subject, action, kind, place) = read().map_err(Refusal::Malformed)?;
    let permissions = permissions(trail, asker, subject).await?;
    let format = &trail.authz.settings.permission_format;
    let (found, next_token) = place.of(resources(format, &permissions, action, kind));
    let every_resource = permits_on_every(format, &permissions, action, kind);
    let context = every_resource.then_some(ResourceContext { every_resource });
    Ok(results(found, next_token, context, |id| FoundEntity {
        r#type: kind.clone(),
        id,
    }))
}

/// `POST /access/v1/search/action`
pub(super) async fn action(
    trail: &Trail<'_>,
    asker: &Asker,
    body: &[u8],
) -> Result<Response<String>, Refusal> {
    let asked: ActionSearch = parse(body)?;
    let read = || {
        let subject = asked.subject.required(SUBJECT)?;
        let resource = asked.resource.required(RESOURCE)?;
        let context = asked.context.optional(CONTEXT)?;
        let page = asked.page.optional(PAGE)?;
        let place = Place::new(page, &("action", subject, resource, context))?;
        Ok((subject, resource, place))
    };
    let (subject, resource, place) = read().map_err(Refusal::Malformed)?;
    let permissions = permissions(trail, asker, subject).await?;
    let format = &trail.authz.settings.permission_format;
    let (found, next_token) = place.of(actions(
        format,
        &permissions,
        &resource.r#type,
        &resource.id,
    ));
    Ok(results(found, next_token, None, |name| FoundAction {
        name,
    }))
}

async fn permissions(
    trail: &Trail<'_>,
    asker: &Asker,
    subject: &Subject,
) -> Result<Vec<String>, Refusal> {
    let holders = trail.authz.holders(asker, &[subject], trail).await?;
    let holder = holders.into_iter().next().flatten();
    Ok(holder.map(|holder| holder.permissions).unwrap_or_default())
}

fn results<T: Serialize>(
    found: Vec<String>,
    next_token: String,
    context: Option<ResourceContext>,
    as_result: impl Fn(String) -> T,
) -> Response<String> {
    let page = NextPage {
        next_token,
        count: found.len(),
    };
    let results = Results {
        page,
        context,
        results: found.into_iter().map(as_result).collect(),
    };
    json_response(StatusCode::OK, &results)
}
