package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed assets
var assetFiles embed.FS

// assetsPath is below what no API has.
const assetsPath = "/console/"

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// version names the assets of this build, so that a browser may keep them for good.
var version = sync.OnceValue(func() string {
	h := sha256.New()
	names, err := fs.Glob(assetFiles, "assets/*")
	if err != nil {
		panic("console: " + err.Error())
	}
	for _, n := range names {
		text, err := assetFiles.ReadFile(n)
		if err != nil {
			panic("console: " + err.Error())
		}
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
})

// file is the address of a file that pages use.
func (d *door) file(name string) string { return d.base + assetsPath + name + "?v=" + version() }

func (f frame) asset(name string) string { return f.door.file(name) }

func (d *door) asset(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	if name == "favicon.ico" {
		name = "icon.svg"
	}
	text, err := assetFiles.ReadFile("assets/" + name)
	packed := false
	if errors.Is(err, fs.ErrNotExist) { // what isn't ours lies packed, as it came but smaller
		text, err = assetFiles.ReadFile("assets/" + name + ".gz")
		packed = true
	}
	kind := assetTypes[path.Ext(name)]
	if err != nil || kind == "" {
		http.NotFound(w, r)
		return
	}
	headers(w.Header())
	w.Header().Set("Content-Type", kind)
	if r.URL.Query().Get("v") == version() {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if packed {
		w.Header().Set("Vary", "Accept-Encoding")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			unpack(w, text)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
	}
	_, _ = w.Write(text) //nolint:gosec // a file of ours
}

func unpack(w io.Writer, packed []byte) {
	text, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic("console: " + err.Error()) // it is part of the program
	}
	_, _ = io.Copy(w, text) //nolint:gosec // a file of ours
}
