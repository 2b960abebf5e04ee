//! The styles of the pages.

/// The styles of a page, without those of its charts.
pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--ground:#fff;--rule:#d8dee4;\
--panel:#f6f8fa;--good:#00694b;--bad:#b3400a}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#9aa4af;--ground:#14171b;\
--rule:#343b43;--panel:#1c2026;--good:#3fcf9f;--bad:#f39a5c}}\
*{box-sizing:border-box}\
body{margin:0 auto;padding:1.25rem;max-width:84rem;background:var(--ground);color:var(--ink);\
font:16px/1.55 system-ui,sans-serif}\
h1{font-size:1.7rem;line-height:1.2;margin:.4rem 0 .6rem}\
h2{font-size:1.3rem;margin:2.4rem 0 .5rem;border-top:1px solid var(--rule);padding-top:1.4rem}\
h3{font-size:1.05rem;margin:1.4rem 0 .4rem}\
p,ul,figcaption{max-width:46rem}.formula{background:var(--panel);padding:.7rem .9rem;\
line-height:1.8;overflow-x:auto}main li{margin:.25rem 0}\
sub,sup{line-height:0}\
a{color:inherit}nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem}\
figure{margin:1rem 0}figcaption,caption{color:var(--soft);font-size:.9rem;text-align:left;\
padding:.3rem 0}\
.scroll{overflow-x:auto;max-width:100%;-webkit-overflow-scrolling:touch}\
table{border-collapse:separate;border-spacing:0;font-variant-numeric:tabular-nums;font-size:.86rem}\
.data th,.data td{padding:.28rem .45rem;border-bottom:1px solid var(--rule);text-align:right;\
white-space:nowrap}\
.data th:first-child,.data td:first-child{text-align:left}\
.data thead th{border-bottom:2px solid var(--soft);font-weight:600;white-space:normal;\
vertical-align:bottom}\
.data tbody th{font-weight:400}\
.data .none{color:var(--soft);white-space:normal}.data.facts td{text-align:left;white-space:normal;\
overflow-wrap:anywhere}\
.data th:first-child{position:sticky;left:0;background:var(--ground);white-space:normal;\
min-width:10rem}.data [title]{text-decoration:underline dotted var(--soft);text-underline-offset:3px;\
cursor:help}\
.found strong{font-weight:700}.found small{color:var(--soft);white-space:nowrap}\
.found td{white-space:normal}\
details{border:1px solid var(--rule);border-radius:6px;margin:.6rem 0}\
summary{cursor:pointer;padding:.55rem .8rem;font-weight:600}\
details[open]>summary{border-bottom:1px solid var(--rule)}\
.part{padding:.2rem .8rem .6rem}.part dt{font-weight:600;margin-top:.5rem}\
.part dd{margin:0;max-width:46rem}\
.grid th{font-size:.7rem;font-weight:600;padding:0 2px 4px;vertical-align:bottom;line-height:1.2;\
width:112px}\
.grid td{padding:2px}.grid tbody th{text-align:left;padding-right:.6rem;vertical-align:middle}\
.grid img{display:block;image-rendering:pixelated}\
.scale{display:inline-block;width:9rem;height:.7rem;vertical-align:-1px;margin:0 .4rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr));\
gap:1rem 1.5rem}.charts svg{width:100%;height:auto;display:block}\
.holds{color:var(--good)}.fails{color:var(--bad);font-weight:700}\
pre{background:var(--panel);padding:.7rem .9rem;overflow-x:auto;font-size:.82rem;line-height:1.45}\
code{font-size:.9em}\
@media(max-width:40rem){body{padding:1rem .8rem}.data th,.data td{padding:.28rem .5rem}\
.data th:first-child{min-width:7rem}.data.found{font-size:.66rem}\
.data.found th,.data.found td{padding:.25rem .12rem}.data.found th:first-child{min-width:3.5rem}.grid tbody th{position:sticky;left:0;background:var(--ground);width:5.5rem}}";
