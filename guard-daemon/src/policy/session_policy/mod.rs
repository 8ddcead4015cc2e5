//! What of a profile AWS itself can enforce: an inline session policy for a role's credentials.
//!
//! It may allow more than the profile, never less: what guard lets pass, AWS must not refuse for it. So an allowance
//! loses what IAM cannot tell (guard's own condition keys), and a denial that depends on such a thing is left out.
//! A call that a service makes on the principal's behalf (S3 that decrypts with KMS) never passes guard, so the
//! profile says nothing of it: it is neither denied here nor does it need a statement.
//!
//! Limits are IAM's: 2,048 characters
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::condition::Condition;
use super::evaluate::Policy;
use super::pattern::ARN_PARTS;
use super::statement::{Listed, Statement};
use super::{Effect, Mode};

/// Characters of an inline session policy.
const LONGEST: usize = 2048;

/// Set where a service makes a call on behalf of the principal.
const VIA_SERVICE: &str = "aws:ViaAWSService";

/// An inline session policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionPolicy {
    /// JSON in ASCII, without spaces, at most 2,048 characters.
    pub text: String,
    /// How much of the profile it says.
    pub extent: Extent,
}

/// How much of a profile a session policy says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// All that IAM can.
    Whole,
    /// Which actions are allowed, whatever the resource and the conditions: the rest would be too long.
    Actions,
}

/// Why there is no session policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSessionPolicy {
    /// The profile only observes.
    #[error("the profile only observes, so nothing is to be refused")]
    Observes,
    /// There is nothing to refuse.
    #[error("the profile refuses nothing that IAM can refuse")]
    Unlimited,
    /// Even the actions alone are too long.
    #[error("its statements need {0} characters, and IAM takes {LONGEST}")]
    TooLong(usize),
}

/// Derives it.
pub(super) fn derive(mode: Mode, policy: &Policy) -> Result<SessionPolicy, NoSessionPolicy> {
    if mode == Mode::Observe {
        return Err(NoSessionPolicy::Observes);
    }
    let (allowed, mut denied): (Vec<_>, Vec<_>) = statements(policy)
        .into_iter()
        .partition(|statement| statement.effect == "Allow");
    denied.extend(limits(policy));
    let everything =
        policy.default() != Effect::Deny || allowed.iter().any(IamStatement::is_everything);
    if everything && denied.is_empty() {
        return Err(NoSessionPolicy::Unlimited);
    }
    let allowed = if everything {
        vec![IamStatement::everything()]
    } else {
        allowed
    };
    let whole = allowed.iter().cloned().chain(denied).collect();
    let whole = document(whole, everything);
    if whole.len() <= LONGEST {
        return Ok(SessionPolicy {
            text: whole,
            extent: Extent::Whole,
        });
    }
    if everything {
        return Err(NoSessionPolicy::TooLong(whole.len()));
    }
    let actions = document(
        allowed
            .into_iter()
            .map(IamStatement::actions_alone)
            .collect(),
        false,
    );
    if actions.len() > LONGEST {
        return Err(NoSessionPolicy::TooLong(actions.len()));
    }
    Ok(SessionPolicy {
        text: actions,
        extent: Extent::Actions,
    })
}

/// As IAM writes a statement. The order of the fields is that of the text.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct IamStatement {
    effect: &'static str,
    #[serde(flatten)]
    action: Pattern<Action>,
    #[serde(flatten)]
    resource: Pattern<Resource>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: Conditions,
}

/// As IAM writes a policy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: &'static str,
    statement: Vec<IamStatement>,
}

/// Operator → key → values.
type Conditions = BTreeMap<String, BTreeMap<String, Texts>>;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Pattern<W> {
    except: bool,
    list: Texts,
    word: std::marker::PhantomData<W>,
}

/// A text where there is one, else a list.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Texts(Vec<String>);

trait Word {
    const NAMED: &'static str;
    const EXCEPTED: &'static str;
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Action;

impl Word for Action {
    const NAMED: &'static str = "Action";
    const EXCEPTED: &'static str = "NotAction";
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Resource;

impl Word for Resource {
    const NAMED: &'static str = "Resource";
    const EXCEPTED: &'static str = "NotResource";
}

impl<W> Pattern<W> {
    fn named(list: Vec<String>) -> Self {
        Self {
            except: false,
            list: Texts(list),
            word: std::marker::PhantomData,
        }
    }

    fn any() -> Self {
        Self::named(vec!["*".to_owned()])
    }

    fn is_any(&self) -> bool {
        !self.except && self.list.0.iter().any(|text| text == "*")
    }
}

impl<W: Word> Serialize for Pattern<W> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;

        let mut map = serializer.serialize_map(Some(1))?;
        let word = if self.except { W::EXCEPTED } else { W::NAMED };
        map.serialize_entry(word, &self.list)?;
        map.end()
    }
}

impl Serialize for Texts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [text] => text.serialize(serializer),
            list => list.serialize(serializer),
        }
    }
}

impl IamStatement {
    fn everything() -> Self {
        Self {
            effect: "Allow",
            action: Pattern::any(),
            resource: Pattern::any(),
            condition: Conditions::new(),
        }
    }

    fn is_everything(&self) -> bool {
        self.action.is_any() && self.resource.is_any() && self.condition.is_empty()
    }

    fn actions_alone(self) -> Self {
        Self {
            resource: Pattern::any(),
            condition: Conditions::new(),
            ..self
        }
    }

    /// A denial that leaves alone what services do on the principal's behalf.
    fn denial(
        action: Pattern<Action>,
        resource: Pattern<Resource>,
        mut condition: Conditions,
    ) -> Self {
        condition
            .entry("BoolIfExists".to_owned())
            .or_default()
            .entry(VIA_SERVICE.to_owned())
            .or_insert_with(|| Texts(vec!["false".to_owned()]));
        Self {
            effect: "Deny",
            action,
            resource,
            condition,
        }
    }
}

/// The statements of the identity and all denials.
fn statements(policy: &Policy) -> Vec<IamStatement> {
    let identity = policy
        .layers()
        .next()
        .map_or(&[][..], |(statements, _)| statements);
    let written = |statement: &Statement| match statement.effect {
        Effect::Allow => Some(allowance(statement)),
        Effect::Approve => Some(approval(statement)),
        Effect::Deny => denial(statement),
    };
    identity.iter().filter_map(written).collect()
}

fn allowance(statement: &Statement) -> IamStatement {
    let condition = statement
        .conditions
        .iter()
        .filter(|condition| !depends_on_guard(condition, statement.variables));
    IamStatement {
        effect: "Allow",
        action: widened(statement.actions.except, &statement.actions.list, action),
        resource: widened(
            statement.resources.except,
            &statement.resources.list,
            |text| resource(text, statement.variables),
        ),
        condition: conditions(condition, statement.variables),
    }
}

/// A person may be asked, and approve, wherever it is not known what a request means: only its actions limit it.
fn approval(statement: &Statement) -> IamStatement {
    allowance(statement).actions_alone()
}

/// `None` where it depends on what IAM does not know.
fn denial(statement: &Statement) -> Option<IamStatement> {
    let variables = statement.variables;
    let conditional = |condition: &Condition| depends_on_guard(condition, variables);
    let via_service = |condition: &Condition| condition.key().eq_ignore_ascii_case(VIA_SERVICE);
    if statement
        .conditions
        .iter()
        .any(|condition| conditional(condition) || via_service(condition))
    {
        return None;
    }
    Some(IamStatement::denial(
        exact(statement.actions.except, &statement.actions.list, action)?,
        exact(
            statement.resources.except,
            &statement.resources.list,
            |text| resource(text, variables),
        )?,
        conditions(statement.conditions.iter(), variables),
    ))
}

/// What limits allow, where it is actions alone: everything else is denied.
fn limits(policy: &Policy) -> impl Iterator<Item = IamStatement> {
    policy.layers().skip(1).filter_map(|(statements, _)| {
        let plain = |statement: &Statement| {
            !statement.actions.except
                && !statement.resources.except
                && statement
                    .resources
                    .list
                    .iter()
                    .any(|it| it.pattern.is_any())
                && statement.conditions.is_empty()
        };
        if statements.is_empty() || !statements.iter().all(plain) {
            return None;
        }
        let listed = statements
            .iter()
            .flat_map(|statement| &statement.actions.list);
        let allowed: Option<Vec<String>> = listed.map(|listed| action(&listed.text)).collect();
        let allowed = allowed.filter(|list| !list.iter().any(|text| text == "*"))?;
        let others = Pattern {
            except: true,
            ..Pattern::named(allowed)
        };
        Some(IamStatement::denial(
            others,
            Pattern::any(),
            Conditions::new(),
        ))
    })
}

/// A list in which what cannot be said stands for more: for everything, or as an exception for nothing.
fn widened<P, W>(
    except: bool,
    list: &[Listed<P>],
    written: impl Fn(&str) -> Option<String>,
) -> Pattern<W> {
    let said = list.iter().map(|listed| written(&listed.text));
    if except {
        let said: Vec<String> = said.flatten().collect();
        if said.is_empty() {
            return Pattern::any();
        }
        return Pattern {
            except,
            ..Pattern::named(said)
        };
    }
    said.collect::<Option<Vec<String>>>()
        .map_or_else(Pattern::any, Pattern::named)
}

fn exact<P, W>(
    except: bool,
    list: &[Listed<P>],
    written: impl Fn(&str) -> Option<String>,
) -> Option<Pattern<W>> {
    let said: Option<Vec<String>> = list.iter().map(|listed| written(&listed.text)).collect();
    Some(Pattern {
        except,
        ..Pattern::named(said?)
    })
}

/// An action as IAM takes it; `None` for a wildcard in the service, which IAM does not take.
fn action(text: &str) -> Option<String> {
    if text.bytes().all(|b| b == b'*') {
        return Some("*".to_owned());
    }
    let (service, _) = text.split_once(':')?;
    (!service.contains(['*', '?'])).then(|| text.to_owned())
}

/// A resource as IAM takes it; `None` where IAM would not, or cannot know what guard's variables mean.
fn resource(text: &str, variables: bool) -> Option<String> {
    if text.bytes().all(|b| b == b'*') {
        return Some("*".to_owned());
    }
    if variables && names_guard(text) {
        return None;
    }
    let parts: Vec<&str> = text.splitn(ARN_PARTS, ':').collect();
    let complete = parts.len() == ARN_PARTS && !parts[2].contains(['*', '?', '$']);
    complete.then(|| literal(text, variables))
}

/// A text in a policy whose language has variables.
fn literal(text: &str, variables: bool) -> String {
    if variables {
        text.to_owned()
    } else {
        text.replace("${", "${$}{")
    }
}

fn conditions<'a>(conditions: impl Iterator<Item = &'a Condition>, variables: bool) -> Conditions {
    let mut written = Conditions::new();
    for condition in conditions {
        let values = condition
            .written()
            .iter()
            .map(|text| literal(text, variables));
        written
            .entry(condition.operator().to_string())
            .or_default()
            .insert(condition.key().to_owned(), Texts(values.collect()));
    }
    written
}

fn depends_on_guard(condition: &Condition, variables: bool) -> bool {
    let own = |key: &str| {
        key.get(..6)
            .is_some_and(|start| start.eq_ignore_ascii_case("guard:"))
    };
    own(condition.key()) || (variables && condition.written().iter().any(|text| names_guard(text)))
}

/// Whether a text has a variable of guard's.
fn names_guard(text: &str) -> bool {
    text.split("${").skip(1).any(|rest| {
        let name = rest.trim_start();
        name.get(..6)
            .is_some_and(|start| start.eq_ignore_ascii_case("guard:"))
    })
}

/// The document, as short as it gets.
fn document(statements: Vec<IamStatement>, everything: bool) -> String {
    let mut statements = statements;
    if !everything {
        let via_service =
            BTreeMap::from([(VIA_SERVICE.to_owned(), Texts(vec!["true".to_owned()]))]);
        statements.push(IamStatement {
            condition: Conditions::from([("Bool".to_owned(), via_service)]),
            ..IamStatement::everything()
        });
    }
    let statements = merged(
        statements,
        |statement| &mut statement.action.list,
        |one, other| {
            one.effect == other.effect
                && !one.action.except
                && !other.action.except
                && one.resource == other.resource
                && one.condition == other.condition
        },
    );
    let statements = merged(
        statements,
        |statement| &mut statement.resource.list,
        |one, other| {
            one.effect == other.effect
                && !one.resource.except
                && !other.resource.except
                && one.action == other.action
                && one.condition == other.condition
        },
    );
    let document = Document {
        version: "2012-10-17",
        statement: statements,
    };
    // Maps with texts as keys have a JSON form.
    ascii(&serde_json::to_string(&document).unwrap_or_default())
}

/// Puts statements together that differ in one list only.
fn merged(
    statements: Vec<IamStatement>,
    list: impl Fn(&mut IamStatement) -> &mut Texts,
    alike: impl Fn(&IamStatement, &IamStatement) -> bool,
) -> Vec<IamStatement> {
    let mut kept: Vec<IamStatement> = Vec::new();
    for mut statement in statements {
        match kept.iter_mut().find(|known| alike(known, &statement)) {
            None => kept.push(statement),
            Some(known) => {
                let known = &mut list(known).0;
                for text in std::mem::take(&mut list(&mut statement).0) {
                    if !known.contains(&text) {
                        known.push(text);
                    }
                }
            }
        }
    }
    for statement in &mut kept {
        let texts = &mut list(statement).0;
        if texts.iter().any(|text| text == "*") {
            *texts = vec!["*".to_owned()];
        }
    }
    kept
}

/// JSON with everything but ASCII escaped: session policies take characters up to U+00FF.
fn ascii(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            plain.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(plain, "\\u{unit:04x}");
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
