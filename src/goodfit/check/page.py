"""The report of a check as one self-contained HTML page; every text is escaped."""

from collections.abc import Mapping, Sequence

from jinja2 import Environment

from goodfit.check.finding import Finding

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>goodfit check</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#222}
article{border-left:.4rem solid #888;padding:.2rem 1rem;margin:1rem 0;background:#f7f7f7}
.error{border-color:#b3261e}.warning{border-color:#b97800}.advice{border-color:#2867a8}
h2{font-size:1.05rem;margin:.4rem 0}code{font-size:.95em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.4rem 0}
dt{color:#666}dd{margin:0;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}article{background:#242424}dt{color:#aaa}}
</style></head><body>
<h1>goodfit check</h1>
<p>{{ summary }}</p>
{% for finding in findings %}
<article class="{{ finding.severity }}">
<h2>{{ finding.severity }}: <code>{{ finding.rule }}</code></h2>
<dl><dt>at</dt><dd><code>{{ finding.where }}</code></dd>
{% for name, text in finding.evidence.items() %}<dt>{{ name }}</dt><dd>{{ text }}</dd>
{% endfor %}<dt>fix</dt><dd>{{ finding.fix }}</dd></dl>
{% set symptoms = explained | selectattr("because", "equalto", finding.rule) | list %}
{% if symptoms %}<details><summary>explains {{ symptoms | length }} more</summary>
{% for symptom in symptoms %}<p><code>{{ symptom.rule }}</code> at <code>{{ symptom.where }}</code>:
{% for name, text in symptom.evidence.items() %}{{ name }} {{ text }}; {% endfor %}</p>
{% endfor %}</details>{% endif %}
</article>
{% else %}<p>No rule found anything.</p>
{% endfor %}
{% if skipped %}<details><summary>{{ skipped | length }} rules could not run</summary>
<dl>{% for rule, why in skipped.items() %}<dt><code>{{ rule }}</code></dt><dd>{{ why }}</dd>
{% endfor %}</dl></details>{% endif %}
</body></html>
"""


def page(
    findings: Sequence[Finding],
    explained: Sequence[Finding],
    skipped: Mapping[str, str],
    summary: str,
) -> str:
    """The whole page. explained: symptoms that go under their cause; skipped: rule and reason."""
    return (
        Environment(autoescape=True)
        .from_string(TEMPLATE)
        .render(findings=findings, explained=explained, skipped=skipped, summary=summary)
    )
