//! Which relay a link belongs to, by what is known of the route and of the relays.

use homing_driver::relay::{Seek, Seeker};

/// What is known when a link is asked for. Relays are numbers in `order`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) seek: &'a Seek,
    /// The relays that take links, in their order for the route.
    pub(super) order: &'a [usize],
    /// This relay, whether it takes links or not.
    pub(super) me: usize,
    /// The relay that serves the route, or did last, where that takes links.
    pub(super) owner: Option<usize>,
    /// Whether another link of the same host is here.
    pub(super) taken: bool,
    /// Whether the links of a host are spread over the relays, so that each has a rank of its own.
    pub(super) spread: bool,
}

/// The relay that the link belongs to; none where no relay takes links, or this one has another link of the host.
pub(super) fn decide(question: Question<'_>) -> Option<usize> {
    let Question { seek, order, me, owner, taken, spread } = question;
    let len = order.len();
    let skip = usize::from(seek.skip);
    let ranked = |rank: usize| order.get(rank.checked_rem(len)?).copied();
    match seek.seeker {
        // Where a device asks again it knows no better than this relay.
        Seeker::Device => owner.or_else(|| ranked(skip)),
        Seeker::Host => {
            // It comes back to where it was: devices are on their way there.
            let place = owner.filter(|_| skip == 0);
            let place = place.or_else(|| ranked(skip + if spread { usize::from(seek.link) } else { 0 }))?;
            // It asks again for the next one: all relays have to count alike.
            (!(taken && place == me)).then_some(place)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(link: u8, skip: u8) -> Seek {
        Seek { seeker: Seeker::Host, route: [0; 16], link, skip }
    }

    fn device(skip: u8) -> Seek {
        Seek { seeker: Seeker::Device, route: [0; 16], link: 0, skip }
    }

    const ORDER: &[usize] = &[2, 0, 1];

    fn of(seek: &Seek) -> Question<'_> {
        Question { seek, order: ORDER, me: 0, owner: None, taken: false, spread: true }
    }

    #[test]
    fn two_links_of_a_host_are_at_the_first_two_relays() {
        assert_eq!(decide(of(&host(0, 0))), Some(2));
        assert_eq!(decide(of(&host(1, 0))), Some(0));
        let together = host(1, 0);
        assert_eq!(decide(Question { spread: false, ..of(&together) }), Some(2), "where one relay serves a route");
    }

    #[test]
    fn who_could_not_reach_a_relay_is_sent_to_the_next() {
        assert_eq!([0, 1, 2, 3].map(|skip| decide(of(&device(skip)))), [Some(2), Some(0), Some(1), Some(2)]);
        assert_eq!([0, 1, 2].map(|skip| decide(of(&host(0, skip)))), [Some(2), Some(0), Some(1)]);
    }

    #[test]
    fn a_relay_takes_one_link_of_a_host() {
        let (second, third) = (host(0, 1), host(0, 2));
        assert_eq!(decide(Question { taken: true, ..of(&second) }), None);
        assert_eq!(decide(Question { taken: true, ..of(&third) }), Some(1), "which is another relay's place");
    }

    #[test]
    fn a_route_is_where_it_was() {
        let (asks, looks, avoids) = (host(0, 0), device(2), host(0, 1));
        assert_eq!(decide(Question { owner: Some(1), ..of(&asks) }), Some(1));
        assert_eq!(decide(Question { owner: Some(1), ..of(&looks) }), Some(1));
        assert_eq!(decide(Question { owner: Some(2), ..of(&avoids) }), Some(0), "the host knows better");
    }

    proptest! {
        #[test]
        fn whoever_asks_is_sent_to_a_relay_that_takes_links(
            order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
            count in 0..6_usize,
            me in 0..6_usize,
            link: u8,
            skip: u8,
            is_host: bool,
            taken: bool,
            spread: bool,
        ) {
            let order = &order[..count];
            let seek = if is_host { host(link, skip) } else { device(skip) };
            let decided = decide(Question { seek: &seek, order, me, owner: None, taken, spread });
            match decided {
                Some(relay) => {
                    prop_assert!(order.contains(&relay));
                    prop_assert!(!(is_host && taken && relay == me));
                }
                None => prop_assert!(order.is_empty() || (is_host && taken && order.contains(&me))),
            }
        }
    }
}
