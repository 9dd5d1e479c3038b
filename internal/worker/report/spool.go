package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// The spool file is emptied when it is all read and has grown beyond this many bytes.
const compactBytes = 1 << 20

// maxTail bounds what waits in memory while the disk takes nothing.
const maxTail = 4 << 20

// spool is a queue of lines on disk. When the disk refuses (full, gone), lines wait in memory instead, so that the reason can
// still be reported. It is not safe for concurrent use.
type spool struct {
	file        *os.File // nil when it can't be opened
	read, write int64    // offsets of the next line to leave and of the end
	tail        [][]byte
	tailBytes   int64
}

// openSpool empties or makes the file. The spool works without it, in memory: the error is for the log.
func openSpool(path string) (*spool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return &spool{}, fmt.Errorf("open spool: %w", err)
	}
	return &spool{file: f}, nil
}

// push appends one line that ends in a newline. It tells the error that made it keep the line in memory, once per bad spell.
func (s *spool) push(line []byte) error {
	if len(s.tail) == 0 && s.file != nil {
		_, err := s.file.WriteAt(line, s.write)
		if err == nil {
			s.write += int64(len(line))
			return nil
		}
		s.keep(line)
		return err
	}
	s.keep(line)
	return nil
}

func (s *spool) keep(line []byte) {
	s.tail = append(s.tail, line)
	s.tailBytes += int64(len(line))
}

// backlog is how many bytes wait. While lines wait in memory the disk takes nothing, so a full tail counts as a full disk.
func (s *spool) backlog() int64 {
	if s.tailBytes > maxTail {
		return maxBacklog + s.tailBytes
	}
	return s.write - s.read + s.tailBytes
}

// next takes the lines of the next batch off the queue: at least one unless it is empty, at most maxLines, and no further line
// once maxBytes are reached.
func (s *spool) next(maxLines int, maxBytes int64) ([][]byte, error) {
	if s.read == s.write {
		return s.nextFromTail(maxLines, maxBytes), nil
	}
	size := min(maxBytes, s.write-s.read)
	var buf []byte
	for {
		buf = make([]byte, size)
		if _, err := s.file.ReadAt(buf, s.read); err != nil && err != io.EOF {
			return nil, fmt.Errorf("read spool: %w", err)
		}
		if bytes.IndexByte(buf, '\n') >= 0 || size == s.write-s.read {
			break
		}
		size = min(2*size, s.write-s.read) // one line longer than a batch
	}
	var lines [][]byte
	for len(lines) < maxLines {
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			break
		}
		lines = append(lines, buf[:end])
		buf = buf[end+1:]
		s.read += int64(end) + 1
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("read spool: no line at %d of %d", s.read, s.write)
	}
	return lines, s.compact()
}

func (s *spool) nextFromTail(maxLines int, maxBytes int64) [][]byte {
	var lines [][]byte
	var size int64
	for len(s.tail) > 0 && len(lines) < maxLines && (size == 0 || size+int64(len(s.tail[0])) <= maxBytes) {
		line := s.tail[0]
		s.tail = s.tail[1:]
		size += int64(len(line))
		lines = append(lines, bytes.TrimSuffix(line, []byte("\n")))
	}
	s.tailBytes -= size
	return lines
}

// compact gives the disk back once everything was read.
func (s *spool) compact() error {
	if s.read < s.write || s.write < compactBytes {
		return nil
	}
	s.read, s.write = 0, 0
	if err := s.file.Truncate(0); err != nil {
		return fmt.Errorf("truncate spool: %w", err)
	}
	return nil
}

// close removes the file when nothing in it is unread.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	if s.read == s.write {
		_ = os.Remove(s.file.Name())
	}
	return s.file.Close()
}
