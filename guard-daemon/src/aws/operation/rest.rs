//! The REST protocols: method, path template, fixed query members, then required members.

use super::Reading;
use crate::aws::{
    IdentifyError, Protocol, RequestView,
    catalog::{OperationModel, Route, Routes, Segment, Service, protocol},
    form,
};

/// More segments than any template has.
const MOST_SEGMENTS: usize = 64;

/// Reads a REST call.
pub(super) fn read(
    request: &RequestView<'_>,
    reading: &mut Reading<'_>,
) -> Result<(), IdentifyError> {
    let Some(path) = segments(request.path) else {
        return Ok(());
    };
    let query = Query::of(request)?;
    let Some(matched) = matching(request, &reading.services, &path) else {
        return Ok(());
    };
    reading.operations = choose(request, &query, matched, path.len(), false)?;
    if let Some((service, _)) = reading.operations.first() {
        reading.services = reading.operations.iter().map(|it| it.0).collect();
        reading.protocol = match (service.name(), service.speaks(protocol::REST_XML)) {
            ("s3control", _) => Protocol::S3,
            (_, true) => Protocol::RestXml,
            _ => Protocol::RestJson,
        };
    }
    Ok(())
}

/// Whether some REST operation has this method and path.
pub(super) fn any(request: &RequestView<'_>, services: &[Service]) -> bool {
    segments(request.path)
        .and_then(|path| matching(request, services, &path))
        .is_some_and(|found| !found.is_empty())
}

/// A query string, decoded: every key is asked for more than once.
pub(super) struct Query<'a>(Vec<super::query::Pair<'a>>);

impl<'a> Query<'a> {
    /// Decodes it. What cannot be decoded is refused: AWS may take it for a key that matters.
    pub(super) fn of(request: &RequestView<'a>) -> Result<Self, IdentifyError> {
        form::pairs(request.query.as_bytes())
            .map(|it| {
                it.ok_or(IdentifyError::Unreadable {
                    what: "the query string",
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// Refuses a key that is given twice.
    pub(super) fn single(&self) -> Result<(), IdentifyError> {
        let mut keys: Vec<&str> = self.keys().collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(IdentifyError::Repeated {
                what: super::shown(pair[0]),
            }),
            None => Ok(()),
        }
    }

    /// The value of a key; twice is refused.
    pub(super) fn get(&self, key: &str) -> Result<Option<&str>, IdentifyError> {
        let mut values = self
            .0
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.as_ref());
        let value = values.next();
        if values.next().is_some() {
            return Err(IdentifyError::Repeated {
                what: super::shown(key),
            });
        }
        Ok(value)
    }
}

/// A route whose method and path match.
pub(super) struct Match {
    service: Service,
    operation: OperationModel,
    route: Route,
}

impl Match {
    /// None for a route without an operation, which the catalog does not have.
    pub(super) fn new(service: Service, route: Route) -> Option<Self> {
        Some(Self {
            service,
            operation: route.operation()?,
            route,
        })
    }
}

/// Of routes that match a path of `length` segments, those that fixed query members, templates and required
/// members leave. `strict` keeps none whose required members are missing.
pub(super) fn choose(
    request: &RequestView<'_>,
    query: &Query<'_>,
    matched: Vec<Match>,
    length: usize,
    strict: bool,
) -> Result<Vec<(Service, OperationModel)>, IdentifyError> {
    let mut found = Vec::with_capacity(matched.len());
    'routes: for candidate in matched {
        for (name, value) in candidate.route.statics() {
            match query.get(name)? {
                Some(given) if value.is_empty() || given == value => {}
                _ => continue 'routes,
            }
        }
        found.push(candidate);
    }
    drop_covered(&mut found, |one, other| {
        one.route.more_literal_than(other.route, length)
    });
    drop_covered(&mut found, |one, other| {
        let names = |it: &Match| it.route.statics().map(|pair| pair.0);
        has_more(&names(one), &names(other))
    });
    let satisfied = |it: &Match| {
        it.route
            .required_query()
            .all(|key| query.keys().any(|given| given == key))
            && it.route.required_headers().all(|name| {
                request.headers.contains_key(name)
                    || query.keys().any(|given| given.eq_ignore_ascii_case(name))
            })
    };
    if strict || found.iter().any(satisfied) {
        found.retain(satisfied);
    }
    drop_covered(&mut found, |one, other| {
        let names = |it: &Match| it.route.required_query().chain(it.route.required_headers());
        has_more(&names(one), &names(other))
    });
    Ok(found
        .into_iter()
        .map(|it| (it.service, it.operation))
        .collect())
}

/// Raw segments, without a trailing slash. `None` where AWS may normalise the path into another one: empty
/// and dot segments, also when escaped.
fn segments(path: &str) -> Option<Vec<&str>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    let mut segments = Vec::with_capacity(8);
    for segment in path.split('/') {
        let decoded = form::decode(segment.as_bytes(), false)?;
        let odd = matches!(decoded.as_ref(), "" | "." | "..")
            || decoded.split('/').any(|part| matches!(part, "." | ".."));
        if odd || segments.len() == MOST_SEGMENTS {
            return None;
        }
        segments.push(segment);
    }
    Some(segments)
}

/// Routes with this method and path. `None` where one matches only once its literals are unescaped: no SDK
/// escapes those, and whether AWS does so before routing is not known.
fn matching(request: &RequestView<'_>, services: &[Service], path: &[&str]) -> Option<Vec<Match>> {
    let mut found = Found::default();
    for service in services {
        let method = request.method.as_str();
        let routes = service.routes().equal(|it| it.method().cmp(method));
        found.walk(*service, routes, path, 0, false);
    }
    (!found.unescaped).then_some(found.matches)
}

#[derive(Default)]
struct Found {
    matches: Vec<Match>,
    /// Some route matches once its literals are unescaped.
    unescaped: bool,
}

impl Found {
    /// Goes down the sorted routes, which are equal in the segments before `place`, as down a tree.
    fn walk(
        &mut self,
        service: Service,
        routes: Routes,
        path: &[&str],
        place: usize,
        escaped: bool,
    ) {
        if routes.is_empty() {
            return;
        }
        if let Some(route) = routes.only() {
            if let Some(unescaped) = route.takes(path) {
                self.add(service, route, unescaped);
            }
            return;
        }
        let Some(given) = path.get(place) else {
            for route in routes.with(place, None).iter() {
                self.add(service, route, escaped);
            }
            return;
        };
        self.walk(
            service,
            routes.with(place, Some(Segment::Literal(given))),
            path,
            place + 1,
            escaped,
        );
        if given.contains('%')
            && let Some(plain) = form::decode(given.as_bytes(), false)
        {
            self.walk(
                service,
                routes.with(place, Some(Segment::Literal(&plain))),
                path,
                place + 1,
                true,
            );
        }
        self.walk(
            service,
            routes.with(place, Some(Segment::Label)),
            path,
            place + 1,
            escaped,
        );
        for route in routes.with(place, Some(Segment::Greedy)).iter() {
            if let Some(unescaped) = route.takes(path) {
                self.add(service, route, unescaped);
            }
        }
    }

    fn add(&mut self, service: Service, route: Route, escaped: bool) {
        if escaped {
            self.unescaped = true;
        } else {
            self.matches.extend(Match::new(service, route));
        }
    }
}

impl Route {
    /// Whether it takes the path: `Some(true)` where it does so only once its literals are unescaped.
    fn takes(self, path: &[&str]) -> Option<bool> {
        let mut escaped = false;
        for (segment, given) in self.aligned(path.len())?.zip(path) {
            let Segment::Literal(literal) = segment else {
                continue;
            };
            if literal == *given {
                continue;
            }
            if !given.contains('%')
                || form::decode(given.as_bytes(), false).as_deref() != Some(literal)
            {
                return None;
            }
            escaped = true;
        }
        Some(escaped)
    }

    /// The template with its greedy label repeated to fill a path of this length; `None` where it cannot.
    fn aligned(self, length: usize) -> Option<impl Iterator<Item = Segment<'static>>> {
        let template = self.segments();
        let greedy = template.clone().any(|it| it == Segment::Greedy);
        let more = length.checked_sub(template.len())?;
        if more > 0 && !greedy {
            return None;
        }
        Some(template.flat_map(move |it| {
            let times = if it == Segment::Greedy { 1 + more } else { 1 };
            std::iter::repeat_n(it, times)
        }))
    }

    /// At least as literal in every segment of a path of this length, and more so in one.
    fn more_literal_than(self, other: Route, length: usize) -> bool {
        let rank = |segment: Segment<'_>| match segment {
            Segment::Literal(_) => 0,
            Segment::Label => 1,
            Segment::Greedy => 2,
        };
        let (Some(one), Some(two)) = (self.aligned(length), other.aligned(length)) else {
            return false;
        };
        let mut better = false;
        for (one, two) in one.map(rank).zip(two.map(rank)) {
            if one > two {
                return false;
            }
            better |= one < two;
        }
        better
    }
}

/// Whether one has all names of the other, and more. Names are few and each stands once.
fn has_more<Names>(one: &Names, other: &Names) -> bool
where
    Names: Iterator<Item = &'static str> + Clone,
{
    one.clone().count() > other.clone().count()
        && other.clone().all(|name| one.clone().any(|it| it == name))
}

/// Drops what another candidate beats.
fn drop_covered(found: &mut Vec<Match>, beats: impl Fn(&Match, &Match) -> bool) {
    if found.len() < 2 {
        return;
    }
    let beaten: Vec<bool> = found
        .iter()
        .map(|it| found.iter().any(|other| beats(other, it)))
        .collect();
    let mut beaten = beaten.into_iter();
    found.retain(|_| !beaten.next().unwrap_or(false));
}
