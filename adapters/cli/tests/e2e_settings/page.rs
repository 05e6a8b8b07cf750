//! The page, in a real browser, with a real device.

use super::*;
use crate::support::Process;
use crate::support::browser::Page;
use crate::support::service::Site;

/// The code on the screen, read by a decoder as a camera would.
async fn scan(page: &mut Page) -> String {
    let pixels = page
        .eval(
            "(async () => { const svg = document.querySelector('#pair-code svg'); const image = new Image(); \
             image.src = 'data:image/svg+xml,' + encodeURIComponent(new XMLSerializer().serializeToString(svg)); \
             await image.decode(); const canvas = document.createElement('canvas'); canvas.width = canvas.height = 320; \
             const context = canvas.getContext('2d'); context.drawImage(image, 0, 0, 320, 320); \
             const data = context.getImageData(0, 0, 320, 320).data; \
             return Array.from({ length: 320 * 320 }, (_, i) => data[4 * i] > 127 ? '1' : '0').join(''); })()",
        )
        .await;
    let pixels = pixels.as_str().unwrap().as_bytes().to_vec();
    let light = |x: usize, y: usize| if pixels[y * 320 + x] == b'1' { 255 } else { 0 };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(320, 320, light);
    image.detect_grids().first().expect("a code").decode().unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_let_in_by_the_code_shown_and_cut_when_revoked() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let settings = Settings::of(&world.host_data(), "settings:write").await;
    let mut page = Page::open(&format!("{}#{}", settings.url, settings.token)).await;
    page.until("document.getElementById('state').textContent === 'devices can reach it'").await;
    assert_eq!(page.eval("location.hash + location.search").await, "", "the token does not stay in the address");
    assert_eq!(page.eval("document.getElementById('host-name').textContent").await, support::HOST);

    page.click("pair-start").await;
    page.until("document.querySelector('#pair-code svg') !== null").await;
    page.until("/^[0-4]:[0-5][0-9]$/.test(document.getElementById('pair-left').textContent)").await;
    let link = scan(&mut page).await;
    let shown = page.eval("document.getElementById('pair-link').textContent").await;
    assert_eq!(shown, format!("homing pair '{link}'"));

    let data = world.dir.path().join("phone");
    let device = Process::start("pair", &data, &["pair", &link, "--name", "<b>phone</b>"]);
    page.until("!document.getElementById('pair-ask').hidden").await;
    let check = page.eval("document.getElementById('pair-check').textContent").await;
    device.logged(check.as_str().unwrap()).await;
    assert_eq!(page.eval("document.getElementById('pair-code').childElementCount").await, 0, "the code is gone");
    let who = page.eval("document.getElementById('pair-who').textContent").await;
    assert_eq!(who, "<b>phone</b> (command line) asks to be let in.");
    page.click("pair-yes").await;
    assert_eq!(device.ended().await, 0);
    page.until("document.getElementById('pair-end').textContent === '<b>phone</b> was let in.'").await;
    page.until("document.querySelectorAll('#devices li').length === 1").await;

    let forward_data = data.clone();
    let forward = support::Device { name: "phone".into(), data, id: String::new(), paired: Value::Null };
    let forward = forward.forward("web").await;
    let mut http = support::client::Http::to(forward.address).await;
    let head = http.get("/show?page").await;
    assert_eq!(head.status, 200);
    http.body(&head).await;
    page.until("document.querySelector('#devices small').textContent.includes('connected now')").await;
    page.until("document.getElementById('audit').textContent.includes('paired')").await;
    page.eval("document.querySelector('#devices button[aria-label^=What]').id = 'grant-it'").await;
    page.click("grant-it").await;
    page.until("!document.getElementById('grant').hidden").await;
    pictures(&mut page).await;
    page.eval("document.getElementById('grant-rules').value = 'web:get:/file\\nweb:post'").await;
    page.eval("document.getElementById('grant-rate').value = 100").await;
    page.click("grant-save").await;
    page.until(
        "document.getElementById('devices').textContent.includes('may reach: web:GET:/file web:POST, 100 a second')",
    )
    .await;
    assert_eq!(http.get("/show").await.status, 403);
    page.eval("document.querySelector('#devices button[aria-label^=What]').id = 'grant-it'").await;
    page.click("grant-it").await;
    assert_eq!(page.eval("document.getElementById('grant-rules').value").await, "web:GET:/file\nweb:POST");
    assert_eq!(page.eval("document.getElementById('grant-guests').checked").await, true);
    page.click("grant-guests").await;
    page.click("grant-save").await;
    page.until("document.getElementById('devices').textContent.includes('100 a second, no guests')").await;
    page.eval("document.querySelector('#devices button[aria-label^=What]').id = 'grant-it'").await;
    page.click("grant-it").await;
    assert_eq!(page.eval("document.getElementById('grant-guests').checked").await, false);
    page.click("grant-lift").await;
    page.until("document.getElementById('devices').textContent.includes('may reach: everything')").await;
    assert!(page.eval("document.getElementById('grant').hidden").await == true);

    page.eval("window.confirm = () => true").await;
    let guest = guest_of(&world, &forward_data).await;
    let visit = guest.forward("web").await;
    page.until("document.querySelector('.guests small')?.textContent.includes('connected now') === true").await;
    assert_eq!(page.eval("document.querySelector('.guests strong').textContent").await, "<i>anna</i>");
    page.eval("document.querySelector('.guests button').id = 'end-it'").await;
    page.click("end-it").await;
    assert_eq!(visit.process.ended().await, 5, "what it was given is over");
    page.until("document.querySelector('.guests small').textContent.startsWith('guest, ended')").await;
    assert_eq!(page.eval("document.querySelector('.guests button')").await, Value::Null);

    page.eval("document.querySelector('#devices button.danger').id = 'revoke-it'").await;
    page.click("revoke-it").await;
    page.until("document.querySelectorAll('#devices li').length === 0").await;
    assert_eq!(forward.process.ended().await, 4, "refused for good");

    page.click("relay-enabled").await;
    page.until("document.getElementById('state').textContent === 'cut off'").await;
    page.click("relay-enabled").await;
    page.until("document.getElementById('state').textContent === 'devices can reach it'").await;
    // A device that is away has not heard of the new keys.
    world.pair().await;
    page.until("document.querySelectorAll('#devices li').length === 1").await;
    assert!(!shows_former_keys(&mut page).await);
    assert_eq!(support::run(&world.host_data(), &["host", "rotate", "--route"]).await.code, 0);
    page.until("document.getElementById('links').textContent.includes('former keys')").await;
    page.until("document.getElementById('devices').textContent.includes('new keys yet')").await;
    page.click("sign-out").await;
    page.until("!document.getElementById('login').hidden && sessionStorage.length === 0").await;
}

/// Somebody whom the device in this directory has let in.
async fn guest_of(world: &World, device: &Path) -> support::Device {
    let flags = ["guest", support::HOST, "--name", "<i>anna</i>", "--for", "1h", "--json"];
    let made = support::run(device, &flags).await;
    assert_eq!(made.code, 0, "{made}");
    let made: Value = serde_json::from_str(made.stdout.trim()).unwrap();
    let data = world.dir.path().join("anna");
    let paired = support::run(&data, &["pair", made["link"].as_str().unwrap()]).await;
    assert_eq!(paired.code, 0, "{paired}");
    support::Device { name: "anna".into(), data, id: String::new(), paired: Value::Null }
}

async fn shows_former_keys(page: &mut Page) -> bool {
    page.eval("/former keys|new keys/.test(document.getElementById('settings').textContent)").await == true
}

/// Nothing sticks out of a phone's screen, everything has a name, and both colour schemes have contrast. The pictures
/// are left for people to look at.
async fn pictures(page: &mut Page) {
    let nameless = page
        .eval(
            "[...document.querySelectorAll('button, input, textarea')].filter((e) => e.checkVisibility() && \
             !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels && e.labels.length)).length",
        )
        .await;
    assert_eq!(nameless, 0);
    for scheme in ["light", "dark"] {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        assert_eq!(page.eval("document.documentElement.scrollWidth <= 390").await, true, "it sticks out");
        let contrast = page
            .eval(
                "(() => { const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => v / 255) \
                 .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); \
                 return 0.2126 * r + 0.7152 * g + 0.0722 * b; }; const card = document.querySelector('section'); \
                 const back = light(getComputedStyle(card).backgroundColor); \
                 return Math.min(...[card, document.querySelector('#devices small'), document.querySelector('#devices .danger'), \
                 document.querySelector('#devices .quiet')].map((e) => { const text = light(getComputedStyle(e).color); \
                 return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05); })); })()",
            )
            .await;
        assert!(contrast.as_f64().unwrap() >= 4.5, "{scheme}: {contrast}");
        let picture = page.picture().await;
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("settings-{scheme}.png.base64")), picture)
            .unwrap();
    }
}
