/**
 * Roster's post-login Action for Auth0 (Actions > Triggers > post-login).
 *
 * It copies what Roster keeps in `app_metadata` into the tokens, so that an application can show it without asking.
 * It decides nothing: the answer about access is Roster's own (`GET /v1/me`), which reads PostgreSQL. What stands in a
 * token was true when the token was issued, and changes only at the next login or refresh.
 *
 * Claims need a namespace, an http(s) URL that you control. It is a name only; nobody calls it. If you change it here,
 * set `authz.email_claim` of Roster to `<NAMESPACE>/email` as well.
 */
const NAMESPACE = 'https://roster.dev';

exports.onExecutePostLogin = async (event, api) => {
  const { role, permissions } = event.user.app_metadata || {};

  // A user whom Roster has not reached yet has neither; a claim that is absent reads as "none".
  if (role !== undefined) {
    api.accessToken.setCustomClaim(`${NAMESPACE}/role`, role);
    api.idToken.setCustomClaim(`${NAMESPACE}/role`, role);
  }
  if (permissions !== undefined) {
    api.accessToken.setCustomClaim(`${NAMESPACE}/permissions`, permissions);
    api.idToken.setCustomClaim(`${NAMESPACE}/permissions`, permissions);
  }

  // Roster matches a login it has not seen before by its e-mail, and only if Auth0 says that the e-mail is verified.
  if (event.user.email) {
    api.accessToken.setCustomClaim(`${NAMESPACE}/email`, event.user.email);
    api.accessToken.setCustomClaim(`${NAMESPACE}/email_verified`, event.user.email_verified === true);
  }
};
