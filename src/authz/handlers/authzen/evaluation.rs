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
    },
    db::directory::search::Holder,
};

/// Evaluations of one request.
const MOST: usize = 1000;

/// `POST /access/v1/evaluation`
pub(super) async fn one(
    authz: &Authz,
    asker: &Asker,
    body: &[u8],
) -> Result<Response<String>, Refusal> {
    let asked: Evaluation = parse(body)?;
    single(authz, asker, &asked).await
}

async fn single(
    authz: &Authz,
    asker: &Asker,
    asked: &Evaluation,
) -> Result<Response<String>, Refusal> {
    let question = asked.question(asked).map_err(Refusal::Malformed)?;
    let holders = authz.holders(asker, &[question.subject]).await?;
    let holder = holders.into_iter().next().flatten();
    let decision = decide(authz, question, holder.as_ref());
    Ok(json_response(StatusCode::OK, &decision))
}

/// `POST /access/v1/evaluations`. All decisions are of one state of the database; one that cannot be made is a deny.
pub(super) async fn many(
    authz: &Authz,
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
        return single(authz, asker, &asked.default).await;
    };
    if evaluations.len() > MOST {
        return Err(Refusal::Malformed(EVALUATIONS));
    }
    let questions: Vec<Result<Question<'_>, &'static str>> = evaluations
        .iter()
        .map(|part| part.required(EVALUATION)?.question(&asked.default))
        .collect();
    let subjects: Vec<_> = questions.iter().flatten().map(|q| q.subject).collect();
    let mut holders = authz.holders(asker, &subjects).await?.into_iter();
    let mut decisions = Vec::with_capacity(questions.len());
    for question in questions {
        let decision = match question {
            Ok(question) => decide(authz, question, holders.next().flatten().as_ref()),
            Err(message) => not_made(message),
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
    let decisions = Decisions {
        evaluations: decisions,
    };
    Ok(json_response(StatusCode::OK, &decisions))
}

fn decide(authz: &Authz, question: Question<'_>, holder: Option<&Holder>) -> Decision {
    let Question {
        action, resource, ..
    } = question;
    let decision = holder.is_some_and(|holder| {
        permits(
            &authz.settings.permission_format,
            &holder.permissions,
            &action.name,
            &resource.r#type,
            &resource.id,
        )
    });
    Decision {
        decision,
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
