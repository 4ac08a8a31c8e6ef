package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"secbot/remediation"
)

// maxReplay bounds one replayed file or standard input, which may hold a
// stream of events: 64 MiB.
const maxReplay = 64 << 20

// ErrReplayFailed says that some input of a replay could not be read as events,
// or the live state behind one could not be judged; what it was has been
// printed.
var ErrReplayFailed = errors.New("not everything could be replayed, see the lines with an error")

// ReplayOptions say how Replay works.
type ReplayOptions struct {
	// Claim gives what the playbooks claim about a signal from the event
	// alone, without a look at AWS.
	Claim func(remediation.Signal) []remediation.Finding
	// Preview judges the live state of a signal's resource and tells what the
	// policy would do; it must change nothing. nil keeps the replay offline.
	Preview func(context.Context, remediation.Signal) ([]remediation.Part, error)
	// JSON prints one JSON object an event instead of lines for people.
	JSON bool
}

// Document is one replayed file or standard input.
type Document struct {
	File    string   // its path, "-" for standard input
	Results []Result // one an event; empty where Err is set
	Err     error    // why it could not be read
}

// Replay decodes the events in paths and prints to w what secbot makes of
// each, offline unless there is a Preview. A path is a file, a directory, all
// of whose files are read in sorted order, or "-" for stdin. Each input holds
// one JSON object or several behind one another. It returns ErrReplayFailed in
// the end where something could not be replayed, and at once ctx's error or one
// of w.
func Replay(ctx context.Context, w io.Writer, stdin io.Reader, paths []string, o ReplayOptions) error {
	var failed error
	for doc := range Documents(stdin, paths) {
		for _, line := range replayLines(ctx, doc, o) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := line.print(w, o.JSON); err != nil {
				return fmt.Errorf("print the replay: %w", err)
			}
			if line.Error != "" || line.LiveError != "" {
				failed = ErrReplayFailed
			}
		}
	}
	return failed
}

// Documents reads and decodes paths as Replay does.
func Documents(stdin io.Reader, paths []string) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		for _, path := range paths {
			for doc := range documentsAt(stdin, path) {
				if !yield(doc) {
					return
				}
			}
		}
	}
}

func documentsAt(stdin io.Reader, path string) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		if path == "-" {
			yield(readDocument("-", stdin))
			return
		}
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				return nil
			}
			doc := Document{File: file, Err: err}
			if err == nil {
				doc = readFile(file)
			}
			if !yield(doc) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Document{File: path, Err: err})
		}
	}
}

// readFile reads a regular file, or what a link points to; others could block.
func readFile(file string) Document {
	info, err := os.Stat(file)
	if err != nil {
		return Document{File: file, Err: err}
	}
	if !info.Mode().IsRegular() {
		return Document{File: file, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(file)
	if err != nil {
		return Document{File: file, Err: err}
	}
	defer func() { _ = f.Close() }() // only read
	return readDocument(file, f)
}

func readDocument(name string, r io.Reader) Document {
	doc := Document{File: name}
	raw, err := io.ReadAll(io.LimitReader(r, maxReplay+1))
	if err != nil {
		doc.Err = err
		return doc
	}
	if len(raw) > maxReplay {
		doc.Err = fmt.Errorf("input of more than %d MiB is %w: split it", maxReplay>>20, ErrTooLarge)
		return doc
	}
	if doc.Results, err = decodeStream(raw); err != nil {
		doc.Results, doc.Err = nil, err
	}
	return doc
}

// decodeStream decodes one JSON object, or several behind one another.
func decodeStream(raw []byte) ([]Result, error) {
	raw = bytes.TrimSpace(trimMark(raw))
	if len(raw) == 0 {
		return Decode(raw)
	}
	// Whatever is no JSON is left to Decode, whose errors say what to do.
	var all []Result
	dec := json.NewDecoder(bytes.NewReader(raw))
	for n := 1; ; n++ {
		rest := raw[dec.InputOffset():]
		var one json.RawMessage
		err := dec.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			one = rest
		}
		results, err := Decode(one)
		if err != nil && n > 1 {
			err = fmt.Errorf("event %d: %w", n, err)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, results...)
	}
}
