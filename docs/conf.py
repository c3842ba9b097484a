"""How Sphinx makes pages of this folder (``make docs-site``). Nothing is fetched by a reader."""
# ruff: noqa: INP001 - where Sphinx looks for it

project = "Portcullis"
copyright = "the authors of Portcullis, Apache-2.0"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
nitpicky = True

myst_heading_anchors = 4
myst_links_external_new_tab = False

html_theme = "alabaster"
html_title = "Portcullis"
templates_path = ["_templates"]
html_show_search_summary = False  # or a page that was opened as a file asks for others in vain
html_static_path = ["_static"]
html_css_files = ["portcullis.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html", "relations.html"]}
html_theme_options = {
    "description": "The gate that every action of every AI agent passes.",
    "fixed_sidebar": True,
    "font_family": "system-ui, sans-serif",
    "head_font_family": "system-ui, sans-serif",
    "page_width": "72rem",
    "sidebar_width": "17rem",
    "show_powered_by": False,
    "show_related": False,
    "sidebar_includehidden": True,
}
pygments_style = "bw"


def _focusable(app, pagename, templatename, context, doctree):  # noqa: ANN001, ANN202, ARG001 - Sphinx's
    """What scrolls sideways can be reached, and so scrolled, by keyboard."""
    body = context.get("body", "")
    for tag in ("<pre", "<table"):
        body = body.replace(tag, f'{tag} tabindex="0"')
    context["body"] = body


def setup(app):  # noqa: ANN001, ANN201 - Sphinx's
    """Called by Sphinx."""
    app.connect("html-page-context", _focusable)
