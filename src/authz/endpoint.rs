//! What the server answers: one closed list, which the routes, the labels of metrics, the decision log and `/openapi.json` are made from.

macro_rules! endpoints {
    ($($name:ident $path:literal)*) => {
        /// An address, whatever may be asked there.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Endpoint {
            $($name,)*
        }

        impl Endpoint {
            /// All of them; those first that are asked most.
            pub(super) const ALL: [Self; [$($path),*].len()] = [$(Self::$name),*];

            /// As it stands in logs and metrics.
            pub(super) const fn path(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)*
                }
            }
        }
    };
}

endpoints! {
    Me "/v1/me"
    Check "/v1/check"
    Nginx "/auth/nginx"
    Traefik "/auth/traefik"
    Caddy "/auth/caddy"
    Envoy "/auth/envoy"
    Hasura "/auth/hasura"
    Evaluation "/access/v1/evaluation"
    Evaluations "/access/v1/evaluations"
    SearchSubject "/access/v1/search/subject"
    SearchResource "/access/v1/search/resource"
    SearchAction "/access/v1/search/action"
    Discovery "/.well-known/authzen-configuration"
    Livez "/livez"
    Readyz "/readyz"
    Metrics "/metrics"
    OpenApi "/openapi.json"
}

impl Endpoint {
    /// Whether its answers are in the metrics. Whoever runs the server asks the others, all the time.
    pub(super) const fn is_counted(self) -> bool {
        self.decides() || matches!(self, Self::Discovery)
    }

    /// Whether it tells who somebody is or what they may do.
    pub(super) const fn decides(self) -> bool {
        !matches!(
            self,
            Self::Discovery | Self::Livez | Self::Readyz | Self::Metrics | Self::OpenApi
        )
    }
}
