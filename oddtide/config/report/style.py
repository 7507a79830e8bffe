"""How the report looks: system fonts, enough contrast in light and dark, kinds told apart without colour too."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --page:#fff; --ink:#1a2230; --soft:#56627a; --line:#d8dee8; --card:#f5f7fb;
  --kept:#8794ab; --appeared:#b45309; --vanished:#1d4ed8; --changed:#7c3aed; --truth:#fde2c4;
  --c0:#1d4ed8; --c1:#b45309; --c2:#0f766e; --c3:#be185d; --c4:#7c3aed; --c5:#4d7c0f; --c6:#0369a1; --c7:#57534e; }
@media (prefers-color-scheme: dark) { :root { --page:#12161d; --ink:#e6eaf2; --soft:#a3aec2; --line:#2c3543;
  --card:#1a212c; --kept:#6c7a93; --appeared:#f59e0b; --vanished:#7aa2ff; --changed:#b794f6; --truth:#4a3418;
  --c0:#7aa2ff; --c1:#f59e0b; --c2:#2dd4bf; --c3:#f472b6; --c4:#b794f6; --c5:#a3e635; --c6:#38bdf8; --c7:#d6d3d1; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif; }
main { max-width:1240px; margin:0 auto; padding:28px 20px 60px; }
h1 { font-size:24px; margin:0 0 4px; } h2 { font-size:18px; margin:36px 0 10px; } h3 { margin:22px 0 8px; }
p { margin:0 0 10px; } .soft { color:var(--soft); } code { font:13px/1.4 ui-monospace,Menlo,Consolas,monospace; }
.lead { font-size:17px; max-width:75ch; }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(190px,1fr)); gap:12px; margin:20px 0; padding:0; }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:12px 14px; list-style:none; }
.card b { display:block; font-size:22px; font-variant-numeric:tabular-nums; } .card span { color:var(--soft); }
.wide { overflow-x:auto; margin:0 0 14px; } table { border-collapse:collapse; width:100%; font-size:13px; }
caption { text-align:left; color:var(--soft); padding:0 0 6px; }
th, td { text-align:left; padding:6px 10px 6px 0; border-bottom:1px solid var(--line); vertical-align:top; }
th { color:var(--soft); font-weight:600; white-space:nowrap; }
td.n, th.n { text-align:right; font-variant-numeric:tabular-nums; white-space:nowrap; }
td.t { white-space:nowrap; font-variant-numeric:tabular-nums; }
.kind { font-weight:600; white-space:nowrap; }
.appeared { color:var(--appeared); } .vanished { color:var(--vanished); } .changed { color:var(--changed); }
svg { display:block; width:100%; height:auto; } svg.bar { width:140px; height:10px; }
svg text { fill:var(--soft); font:11px system-ui,sans-serif; }
.f-kept { fill:var(--kept); } .f-appeared { fill:var(--appeared); } .f-vanished { fill:var(--vanished); }
.f-changed { fill:var(--changed); } .axis { stroke:var(--soft); stroke-width:1; }
.f-truth { fill:var(--truth); } .grid { stroke:var(--line); stroke-width:1; }
.line { fill:none; stroke-width:1.6; } .values { fill:none; stroke:var(--ink); stroke-width:1; }
svg text.name { fill:var(--ink); } .share { background:color-mix(in srgb, var(--vanished) var(--w), transparent); }
.legend { display:flex; flex-wrap:wrap; gap:6px 18px; margin:8px 0 0; padding:0; color:var(--soft); font-size:13px; }
.legend li { list-style:none; } .legend svg { display:inline-block; width:12px; height:12px; margin-right:5px; }
.note { border-left:4px solid var(--appeared); background:var(--card); padding:10px 14px; margin:14px 0; }
@media print { main { max-width:none; padding:0; } .card { break-inside:avoid; } }
"""
