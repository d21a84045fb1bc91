//! `POST /access/v1/evaluation` and `/evaluations`: may this user do that?

use warp::http::{Response, StatusCode};

use super::{super::answer::json_response, parse};
use crate::{
    authz::{
        Authz,
        authzen::{
            callers::Asker,
            permits,
            request::{
                Decision, DecisionContext, Decisions, EVALUATION, EVALUATIONS, Evaluation,
                EvaluationError, Evaluations, OPTIONS, Question, Semantic,
            },
        },
        rejection::Refusal,
        trail::{Evaluated, Reason, Trail},
    },
    db::directory::search::Holder,
};

/// Evaluations of one request.
const MOST: usize = 1000;

/// `POST /access/v1/evaluation`
pub(super) async fn one(
    trail: &Trail<'_>,
    asker: &Asker,
    body: &[u8],
) -> Result<Response<String>, Refusal> {
    let asked: Evaluation = parse(body)?;
    single(trail, asker, &asked).await
}

async fn single(
    trail: &Trail<'_>,
    asker: &Asker,
    asked: &Evaluation,
) -> Result<Response<String>, Refusal> {
    let question = asked.question(asked).map_err(Refusal::Malformed)?;
    let holders = trail
        .authz
        .holders(asker, &[question.subject], trail)
        .await?;
    let holder = holders.into_iter().next().flatten();
    let evaluated = evaluate(trail.authz, question, holder.as_ref());
    let decision = decision(evaluated.reason);
    trail.evaluated(vec![evaluated]);
    Ok(json_response(StatusCode::OK, &decision))
}

/// `POST /access/v1/evaluations`. All decisions are of one state of the database; one that cannot be made is a deny.
pub(super) async fn many(
    trail: &Trail<'_>,
    asker: &Asker,
    body: &[u8],
) -> Result<Response<String>, Refusal> {
    let asked: Evaluations = parse(body)?;
    let options = asked
        .options
        .optional(OPTIONS)
        .map_err(Refusal::Malformed)?;
    let semantic = options.copied().unwrap_or_default().evaluations_semantic;
    let evaluations = asked.evaluations.optional(EVALUATIONS);
    let evaluations = evaluations.map_err(Refusal::Malformed)?;
    let Some(evaluations) = evaluations.filter(|list| !list.is_empty()) else {
        return single(trail, asker, &asked.default).await;
    };
    if evaluations.len() > MOST {
        return Err(Refusal::Malformed(EVALUATIONS));
    }
    let questions: Vec<Result<Question<'_>, &'static str>> = evaluations
        .iter()
        .map(|part| part.required(EVALUATION)?.question(&asked.default))
        .collect();
    let subjects: Vec<_> = questions.iter().flatten().map(|q| q.subject).collect();
    let authz = trail.authz;
    let holders = authz.holders(asker, &subjects, trail).await?;
    let mut holders = holders.into_iter();
    let mut decisions = Vec::with_capacity(questions.len());
    let mut trace = Vec::with_capacity(questions.len());
    for question in questions {
        let decision = match question {
            Ok(question) => {
                let holder = holders.next().flatten();
                let evaluated = evaluate(authz, question, holder.as_ref());
                let decision = decision(evaluated.reason);
                trace.push(evaluated);
                decision
            }
            Err(message) => {
                trace.push(Evaluated {
                    user: None,
                    permission: None,
                    reason: Reason::Malformed,
                });
                not_made(message)
            }
        };
        let is_last = match semantic {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !decision.decision,
            Semantic::PermitOnFirstPermit => decision.decision,
        };
        decisions.push(decision);
        if is_last {
            break;
        }
    }
    trail.evaluated(trace);
    let decisions = Decisions {
        evaluations: decisions,
    };
    Ok(json_response(StatusCode::OK, &decisions))
}

fn evaluate(authz: &Authz, question: Question<'_>, holder: Option<&Holder>) -> Evaluated {
    let Question {
        action, resource, ..
    } = question;
    let format = &authz.settings.permission_format;
    let (name, kind, id) = (&action.name, &resource.r#type, &resource.id);
    let reason = match holder {
        None => Reason::SubjectUnknown,
        Some(holder) if permits(format, &holder.permissions, name, kind, id) => Reason::Permitted,
        Some(_) => Reason::PermissionMissing,
    };
    Evaluated {
        user: holder.map(|holder| holder.key.clone()),
        permission: format.write(name, kind),
        reason,
    }
}

fn decision(reason: Reason) -> Decision {
    Decision {
        decision: reason == Reason::Permitted,
        context: None,
    }
}

fn not_made(message: &'static str) -> Decision {
    let error = EvaluationError {
        status: StatusCode::BAD_REQUEST.as_u16(),
        message,
    };
    Decision {
        decision: false,
        context: Some(DecisionContext { error }),
    }
}
