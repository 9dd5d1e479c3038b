package kit

import (
	"context"
	"errors"
	"io"
	"net/http"

	"gantry/internal/platform/fault"
)

// File hands the first part of a multipart body that has the name to use, and passes other parts over. The operation's Upload names
// the part and its MaxBodyBytes bounds the body; most is the largest file in bytes, for the refusal's text. What is wrong with the body
// is a 422 or 413 that names the part.
func File(ctx context.Context, name string, most int64, use func(fileName, contentType string, body io.Reader) error) error {
	parts, err := Request(ctx).MultipartReader()
	if err != nil {
		return fault.InvalidField(name, "the body must be multipart/form-data with a part named %s", name)
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return fault.InvalidField(name, "is missing: the body must have a part named %s", name)
		}
		if err != nil {
			return fileFault(err, name, most)
		}
		if part.FormName() == name {
			return fileFault(use(part.FileName(), part.Header.Get("Content-Type"), part), name, most)
		}
	}
}

// fileFault names the part when the client's body is what broke; other errors pass.
func fileFault(err error, name string, most int64) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return fault.Wrap(err, fault.TooLarge, "%s: at most %d MB", name, most>>20)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.InvalidField(name, "the body ended early")
	case fault.KindOf(err) == fault.Internal && !errors.As(err, new(*fault.Error)):
		return fault.Wrap(err, fault.Invalid, "%s: the body can't be read as multipart/form-data", name)
	}
	return err
}
