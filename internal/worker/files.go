package worker

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"gantry/internal/worker/acp"
	"gantry/internal/worker/sandbox"
)

const maxTextFile = 16 << 20 // bytes of a file an agent reads or writes through the worker

// readTextFile answers fs/read_text_file from the workspace, never from the machine.
func (r *run) readTextFile(_ context.Context, p acp.ReadTextFileParams) (string, error) {
	f, err := r.ws.OpenRegular(p.Path, maxTextFile)
	if err != nil {
		return "", fileError(err)
	}
	defer func() { _ = f.Close() }()
	var in io.Reader = f
	if p.Line == nil && p.Limit == nil {
		b, err := io.ReadAll(in)
		return string(b), fileError(err)
	}
	first, count := 1, -1
	if p.Line != nil {
		first = *p.Line
	}
	if p.Limit != nil {
		count = *p.Limit
	}
	var out strings.Builder
	lines := bufio.NewReader(in)
	for n := 1; count < 0 || n < first+count; n++ {
		line, err := lines.ReadString('\n')
		if n >= first {
			out.WriteString(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fileError(err)
		}
	}
	return out.String(), nil
}

// writeTextFile answers fs/write_text_file.
func (r *run) writeTextFile(_ context.Context, p acp.WriteTextFileParams) error {
	return fileError(r.ws.WriteFile(p.Path, strings.NewReader(p.Content), maxTextFile, 0o644))
}

// fileError tells the agent what it may know: its own paths, nothing of the machine's.
func fileError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return acp.Errorf(acp.CodeNotFound, "no such file")
	case errors.Is(err, sandbox.ErrNotRegular):
		return acp.Errorf(acp.CodeInvalidParams, "path: not a regular file of the workspace")
	case errors.Is(err, sandbox.ErrTooBig):
		return acp.Errorf(acp.CodeInvalidParams, "path: the file is too big")
	case errors.Is(err, sandbox.ErrDiskFull):
		return acp.Errorf(acp.CodeInternal, "the workspace's disk is full")
	}
	return err
}
