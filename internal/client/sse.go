package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// readSSE reads server-sent events until the stream ends or handle gives false. alive is called for every line, comments
// included. Lines have no length limit: an event is as long as the server makes it.
func readSSE(r io.Reader, alive func(), handle func(name, id string, data []byte) bool) error {
	br := bufio.NewReader(r)
	var name, id string
	var data bytes.Buffer
	for {
		line, err := br.ReadBytes('\n')
		if err != nil {
			// An event without its closing blank line is not complete and comes again.
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		alive()
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			if (data.Len() > 0 || name != "") && !handle(name, id, data.Bytes()) {
				return nil
			}
			name, id = "", ""
			data.Reset()
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "id":
			id = string(value)
		case "data":
			if data.Len() > 0 {
				data.WriteByte('\n')
			}
			data.Write(value)
		}
	}
}
