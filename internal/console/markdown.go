package console

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/a-h/templ"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/util"
)

// What agents and people write is markdown without raw HTML: tags come out as the text that they are. Links lead to http, https and mail addresses
// only, and tell nobody where they were followed from. Pictures are links: a page that loads one tells its host who reads it.
var markdown = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.Linkify, extension.TaskList),
		goldmark.WithRendererOptions(html.WithHardWraps(), renderer.WithNodeRenderers(util.Prioritized(links{}, 1))),
	)
})

// Markdown can be written so that reading it takes a time that grows with the square of its length. So what is long, and what goes beyond
// a page's share, is shown as it is. Both are in bytes; together they bound a page's work to about a second at worst.
const (
	maxMarkdown  = 12 << 10
	pageMarkdown = 256 << 10
)

// spend decides which messages of a page are rendered as markdown: the newest ones first.
func spend(entries []*entry) {
	left := pageMarkdown
	for _, n := range slices.Backward(entries) {
		if n.kind != saidByUser && n.kind != saidByAgent {
			continue
		}
		if n.plain = len(n.text) > min(left, maxMarkdown); !n.plain {
			left -= len(n.text)
		}
	}
}

// said renders a message.
func said(n *entry) templ.Component {
	if n.plain {
		return preformatted(clean(n.text))
	}
	return rich(n.text)
}

// rich renders markdown.
func rich(text string) templ.Component {
	text = clean(text)
	var b bytes.Buffer
	if markdown().Convert([]byte(text), &b) != nil {
		return preformatted(text)
	}
	return templ.Raw(b.String())
}

// links renders what leads elsewhere, and raw HTML as the text that it is.
type links struct{}

// RegisterFuncs takes the nodes over from goldmark's own renderer.
func (l links) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindLink, l.link)
	r.Register(ast.KindAutoLink, l.auto)
	r.Register(ast.KindImage, l.image)
	r.Register(ast.KindRawHTML, l.rawInline)
	r.Register(ast.KindHTMLBlock, l.rawBlock)
}

func openLink(w util.BufWriter, destination string) {
	if !leadsOut(destination) {
		_, _ = w.WriteString("<span>") // the writer is a buffer
		return
	}
	_, _ = w.WriteString(`<a rel="noopener noreferrer nofollow" target="_blank" href="`)
	_, _ = w.Write(util.EscapeHTML(util.URLEscape([]byte(destination), true)))
	_, _ = w.WriteString(`">`)
}

func shutLink(w util.BufWriter, destination string) {
	if leadsOut(destination) {
		_, _ = w.WriteString("</a>")
		return
	}
	_, _ = w.WriteString("</span>")
}

// leadsOut takes absolute addresses that a browser may be sent to. One that is relative would lead into the console.
func leadsOut(destination string) bool {
	u, err := url.Parse(destination)
	if err != nil {
		return false
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https":
		return u.Host != ""
	case "mailto":
		return true
	}
	return false
}

func (links) link(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	to := string(n.(*ast.Link).Destination) //nolint:forcetypeassert // it is registered for this kind
	if entering {
		openLink(w, to)
	} else {
		shutLink(w, to)
	}
	return ast.WalkContinue, nil
}

func (links) image(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	to := string(n.(*ast.Image).Destination) //nolint:forcetypeassert // it is registered for this kind
	if entering {
		openLink(w, to)
		_, _ = w.WriteString("🖼 ")
	} else {
		shutLink(w, to)
	}
	return ast.WalkContinue, nil
}

func (links) auto(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	a := n.(*ast.AutoLink) //nolint:forcetypeassert // it is registered for this kind
	to := string(a.URL(source))
	if a.AutoLinkType == ast.AutoLinkEmail && !strings.HasPrefix(strings.ToLower(to), "mailto:") {
		to = "mailto:" + to
	}
	openLink(w, to)
	_, _ = w.Write(util.EscapeHTML(a.Label(source)))
	shutLink(w, to)
	return ast.WalkContinue, nil
}

func (links) rawInline(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkSkipChildren, nil
	}
	r := n.(*ast.RawHTML) //nolint:forcetypeassert // it is registered for this kind
	for i := range r.Segments.Len() {
		s := r.Segments.At(i)
		_, _ = w.Write(util.EscapeHTML(s.Value(source)))
	}
	return ast.WalkSkipChildren, nil
}

func (links) rawBlock(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	b := n.(*ast.HTMLBlock) //nolint:forcetypeassert // it is registered for this kind
	if !entering {
		if b.HasClosure() {
			_, _ = w.Write(util.EscapeHTML(b.ClosureLine.Value(source)))
		}
		_, _ = w.WriteString("</pre>\n")
		return ast.WalkContinue, nil
	}
	_, _ = w.WriteString("<pre>")
	for i := range b.Lines().Len() {
		s := b.Lines().At(i)
		_, _ = w.Write(util.EscapeHTML(s.Value(source)))
	}
	return ast.WalkContinue, nil
}
