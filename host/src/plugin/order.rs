//! In which order plugins start that need each other's services.

/// The plugin that is taken for the provider of a service when no loaded plugin offers it: `callstack` for
/// `panda.callstack/1`, the id without its prefix and its version.
pub fn provider_of(service: &str) -> &str {
    let name = service.rsplit_once('/').map_or(service, |(name, _)| name);
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// What is known of a plugin before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Its name.
    pub name: &'a str,
    /// Services it requires.
    pub requires: &'a [String],
}

/// Why none of the waiting plugins can start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// A plugin, by its index, and the service that nobody is going to offer.
    Missing(usize, String),
    /// Plugins that wait for each other: each with the service it waits for, which the next one offers.
    Cycle(Vec<(String, String)>),
}

/// The plugin that starts next: the first one, or what it waits for.
pub fn next(waiting: &[Waiting<'_>], there: impl Fn(&str) -> bool) -> Result<usize, Blocked> {
    let mut blocked = None;
    for first in 0..waiting.len() {
        let mut path: Vec<(usize, &str)> = Vec::new();
        let mut at = first;
        let reason = loop {
            let Some(service) = waiting[at].requires.iter().find(|id| !there(id)) else {
                return Ok(at);
            };
            path.push((at, service));
            let provider = provider_of(service);
            let Some(next) = waiting.iter().position(|w| w.name == provider) else {
                break Blocked::Missing(at, service.clone());
            };
            if let Some(begin) = path.iter().position(|(n, _)| *n == next) {
                let names = |(n, id): &(usize, &str)| (waiting[*n].name.into(), (*id).into());
                break Blocked::Cycle(path[begin..].iter().map(names).collect());
            }
            at = next;
        };
        blocked.get_or_insert(reason);
    }
    Err(blocked.unwrap_or(Blocked::Cycle(Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(plugins: &[(&str, &[&str])]) -> Result<Vec<String>, Blocked> {
        let requires: Vec<Vec<String>> = plugins
            .iter()
            .map(|(_, ids)| ids.iter().map(|id| (*id).to_owned()).collect())
            .collect();
        let mut waiting: Vec<Waiting<'_>> = plugins
            .iter()
            .zip(&requires)
            .map(|((name, _), requires)| Waiting { name, requires })
            .collect();
        let mut started = Vec::new();
        while !waiting.is_empty() {
            // Every plugin offers `x.NAME/1`.
            let there = |id: &str| started.iter().any(|name| format!("x.{name}/1") == id);
            let n = next(&waiting, there)?;
            started.push(waiting.remove(n).name.to_owned());
        }
        Ok(started)
    }

    #[test]
    fn the_provider_is_named_by_the_service() {
        assert_eq!(provider_of("panda.callstack/1"), "callstack");
        assert_eq!(provider_of("org.example.taint/12"), "taint");
        assert_eq!(provider_of("plain"), "plain");
    }

    #[test]
    fn the_given_order_is_kept_but_for_providers() {
        assert_eq!(order(&[("b", &[]), ("a", &[])]).unwrap(), ["b", "a"]);
        let plugins: &[(&str, &[&str])] = &[
            ("user", &["x.deep/1", "x.other/1"]),
            ("b", &[]),
            ("other", &[]),
            ("deep", &["x.other/1"]),
        ];
        assert_eq!(order(plugins).unwrap(), ["other", "deep", "user", "b"]);
    }

    #[test]
    fn cycles_and_missing_services_are_named() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            order(&[("c", &["x.a/1"]), ("a", &["x.b/1"]), ("b", &["x.a/1"])]),
            Err(Blocked::Cycle(vec![pair("a", "x.b/1"), pair("b", "x.a/1")]))
        );
        assert_eq!(
            order(&[("self", &["x.self/1"])]),
            Err(Blocked::Cycle(vec![pair("self", "x.self/1")]))
        );
        assert_eq!(
            order(&[("b", &[]), ("a", &["x.none/1"])]),
            Err(Blocked::Missing(0, "x.none/1".to_owned()))
        );
    }
}
