//! Whether two ARN templates can mean the same ARN.

/// Whether a template of ours can be an ARN of the reference's template: field by field.
pub(crate) fn fits(theirs: &str, written: &str) -> bool {
    let written = plain(written);
    let (mut one, mut other) = (theirs.splitn(6, ':'), written.splitn(6, ':'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            // AWS's own resources are in no account, and global ones in no region.
            (Some(_), Some("")) => {}
            (Some(one), Some(other)) if meet(&tokens(one, "${"), &tokens(other, "{")) => {}
            _ => return false,
        }
    }
}

/// A letter, or any text of at least one letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    /// This one.
    Letter(char),
    /// Anything.
    Some,
}

/// A template of ours with `{}` for each variable; those that only compare are empty.
fn plain(template: &str) -> String {
    let mut plain = String::new();
    let template = template.replace("${", "{").replace("{}", "");
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (inner, after) = after.split_once('}').unwrap_or((after, ""));
        plain.push_str(before);
        let form = inner.split_once(':').map_or("", |it| it.1);
        if form != "none" && !form.starts_with('=') {
            plain.push_str("{}");
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

fn tokens(template: &str, open: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(open) {
        tokens.extend(before.chars().map(Token::Letter));
        if tokens.last() != Some(&Token::Some) {
            tokens.push(Token::Some);
        }
        rest = after.split_once('}').map_or("", |it| it.1);
    }
    tokens.extend(rest.chars().map(|it| {
        if it == '*' {
            Token::Some
        } else {
            Token::Letter(it)
        }
    }));
    tokens
}

/// Whether some text fits both.
fn meet(one: &[Token], other: &[Token]) -> bool {
    // reached[i][j]: the texts before token i of one and token j of the other can be equal.
    let mut reached = vec![vec![false; other.len() + 1]; one.len() + 1];
    reached[0][0] = true;
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            if !reached[i][j] {
                continue;
            }
            let (a, b) = (one.get(i), other.get(j));
            let (Some(a), Some(b)) = (a, b) else { continue };
            match (a, b) {
                (Token::Letter(a), Token::Letter(b)) => {
                    if a == b {
                        reached[i + 1][j + 1] = true;
                    }
                }
                // A variable takes one letter, and may end or go on.
                (Token::Some, _) | (_, Token::Some) => {
                    reached[i + 1][j + 1] = true;
                    if *a == Token::Some {
                        reached[i][j + 1] = true;
                    }
                    if *b == Token::Some {
                        reached[i + 1][j] = true;
                    }
                }
            }
        }
    }
    reached[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_meet() {
        let task =
            "arn:${Partition}:ecs:${Region}:${Account}:task-definition/${Family}:${Revision}";
        for (ours, expected) in [
            (
                "arn:${Partition}:ecs:${Region}:${Account}:task-definition/{taskDefinition}",
                true,
            ),
            (
                "arn:${Partition}:ecs:${Region}:${Account}:task-definition/{a}:{b}",
                true,
            ),
            (
                "arn:${Partition}:ecs:${Region}:${Account}:cluster/{cluster}",
                false,
            ),
            (
                "arn:${Partition}:ecs:${Region}::task-definition/{taskDefinition}",
                true,
            ),
            (
                "arn:${Partition}:ec2:${Region}:${Account}:task-definition/{a}",
                false,
            ),
        ] {
            assert_eq!(fits(task, ours), expected, "{ours}");
        }
    }
}
