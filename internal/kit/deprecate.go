package kit

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// deprecate says with every answer of an older version since when it is one (RFC 9745), and where its successor is. The link is
// filled in from the request as far as the request tells; a successor with anything left open is not linked to.
func (o *operation) deprecate(r *http.Request, h http.Header) {
	o.api.deprecate(h)
	_, path, ok := strings.Cut(o.decl.Successor, " ")
	if !ok {
		return
	}
	if link := o.fill(path, r); link != "" {
		h.Set("Link", "<"+link+`>; rel="successor-version"`)
	}
}

func (a *API) deprecate(h http.Header) {
	h.Set("Deprecation", "@"+strconv.FormatInt(a.deprecated.Unix(), 10))
}

// fill puts the request's path parameters into the successor's path: the organization by its name, which a short form leaves out, the
// others by their order, since the versions name them differently.
func (o *operation) fill(path string, r *http.Request) string {
	var values []string
	for s := range strings.SplitSeq(o.path, "/") {
		if name, ok := parameter(s); ok && name != "org_id" {
			values = append(values, r.PathValue(name))
		}
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		name, ok := parameter(s)
		switch {
		case !ok:
		case name == "org_id" && r.PathValue("org_id") != "":
			segments[i] = url.PathEscape(r.PathValue("org_id"))
		case name == "org_id":
			segments = append(segments[:i:i], append([]string{""}, segments[i+1:]...)...) // the short form: the credential's own
		case len(values) == 0 || values[0] == "":
			return ""
		default:
			segments[i], values = escaped(values[0]), values[1:]
		}
	}
	return strings.ReplaceAll(strings.Join(segments, "/"), "//", "/")
}

func escaped(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	return url.PathEscape(s)
}

func parameter(segment string) (string, bool) {
	name, ok := strings.CutPrefix(segment, "{")
	return strings.TrimSuffix(name, "}"), ok
}
