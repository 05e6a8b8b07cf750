//! Rendezvous hashing: every relay ranks all relays for a route in the same way, and when one is gone only its routes
//! move.

use homing_core::crypto::{PROTO, hash};

use super::Blinded;

/// The places of `names` in their order for the route, the best first.
pub(super) fn ranking(names: &[&str], route: &Blinded) -> Vec<usize> {
    let mut weighed: Vec<_> =
        names.iter().enumerate().map(|(place, name)| (weight(name, route), *name, place)).collect();
    // Names differ, so there is one order whatever the hashes are.
    weighed.sort_unstable_by(|a, b| b.cmp(a));
    weighed.into_iter().map(|(_, _, place)| place).collect()
}

fn weight(name: &str, route: &Blinded) -> [u8; 32] {
    hash(&[PROTO, b" rank", route, name.as_bytes()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names_of(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("relay-{number}")).collect()
    }

    fn best<'n>(names: &[&'n str], route: &Blinded) -> &'n str {
        names[ranking(names, route)[0]]
    }

    proptest! {
        #[test]
        fn all_relays_agree_whatever_the_order_of_their_lists(
            count in 1..20usize,
            route: Blinded,
            turn in 0..20usize,
        ) {
            let owned = names_of(count);
            let names: Vec<&str> = owned.iter().map(String::as_str).collect();
            let mut turned = names.clone();
            turned.rotate_left(turn % count);
            let order = |names: &[&str]| -> Vec<String> {
                ranking(names, &route).into_iter().map(|place| names[place].to_owned()).collect()
            };
            prop_assert_eq!(order(&names), order(&turned));
            let mut places = ranking(&names, &route);
            places.sort_unstable();
            prop_assert_eq!(places, (0..count).collect::<Vec<_>>(), "each once");
        }

        #[test]
        fn a_relay_that_goes_takes_only_its_own_routes_along(count in 2..20usize, gone in 0..20usize, route: Blinded) {
            let owned = names_of(count);
            let names: Vec<&str> = owned.iter().map(String::as_str).collect();
            let mut left = names.clone();
            let gone = left.remove(gone % count);
            let before = best(&names, &route);
            if before == gone {
                prop_assert_eq!(best(&left, &route), names[ranking(&names, &route)[1]], "the second takes over");
            } else {
                prop_assert_eq!(best(&left, &route), before);
            }
        }
    }

    #[test]
    fn routes_spread_evenly() {
        let names = ["a", "b", "c", "d"];
        let mut counts = [0_u32; 4];
        for number in 0..8000_u32 {
            let mut route = [0; 16];
            route[..4].copy_from_slice(&number.to_be_bytes());
            counts[ranking(&names, &route)[0]] += 1;
        }
        // Nine standard deviations: 2000 expected of each.
        assert!(counts.iter().all(|count| (1650..2350).contains(count)), "{counts:?}");
    }
}
