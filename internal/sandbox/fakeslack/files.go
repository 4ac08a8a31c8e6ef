package fakeslack

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// File is an uploaded file.
type File struct {
	ID      string
	Name    string
	Title   string
	Channel string // where it was shared; "" if nowhere
	TS      string // of the message that shares it
	Content []byte

	length int
	sent   bool
}

func (s *Slack) filesGetUploadURLExternal(a args) (object, error) {
	length, err := strconv.Atoi(a["length"])
	switch {
	case a["filename"] == "":
		return nil, refuse("invalid_arguments", "[ERROR] missing required field: filename")
	case err != nil || length < 1:
		return nil, refuse("invalid_arguments", "[ERROR] length must be a positive number of bytes")
	case length > maxFile:
		return nil, refuse("file_upload_size_restricted")
	}
	secret := s.o.NewID()
	f := &File{ID: "F" + s.shortID(), Name: a["filename"], length: length}
	s.uploads.add(secret, f)
	return object{"upload_url": s.o.URL + "/upload/" + secret, "file_id": f.ID}, nil
}

// serveUpload takes the bytes: the body, or the first file of a form.
func (s *Slack) serveUpload(w http.ResponseWriter, r *http.Request, secret string) {
	content, err := readUpload(r)
	s.serve(w, r, Call{Method: "upload"}, func() answer {
		f, ok := s.uploads.get(secret)
		switch {
		case !ok || f.sent:
			return answer{status: http.StatusNotFound, body: "no such upload", code: "upload_not_found"}
		case err != nil:
			return answer{status: http.StatusBadRequest, body: "the upload could not be read", code: "invalid_upload"}
		case len(content) != f.length:
			return answer{status: http.StatusBadRequest, body: fmt.Sprintf("%d bytes came, %d were said", len(content), f.length), code: "length_mismatch"}
		}
		f.Content, f.sent = content, true
		return answer{status: http.StatusOK, body: fmt.Sprintf("OK - %d", len(content))}
	})
}

func readUpload(r *http.Request) ([]byte, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		return io.ReadAll(r.Body)
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, err
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, err
		}
		if part.FileName() != "" {
			return io.ReadAll(part)
		}
	}
}

func (s *Slack) filesCompleteUploadExternal(a args) (object, error) {
	var wanted []struct{ ID, Title string }
	if err := json.Unmarshal([]byte(a["files"]), &wanted); err != nil || len(wanted) == 0 {
		return nil, refuse("invalid_arguments", "[ERROR] files must be an array of objects with an id")
	}
	var files []*File
	var titles []string
	for _, want := range wanted {
		f, ok := s.uploaded(want.ID)
		if !ok {
			return nil, refuse("file_not_found")
		}
		files, titles = append(files, f), append(titles, or(want.Title, f.Name))
	}
	for _, ref := range shareIn(a) {
		if err := s.share(ref, a, files); err != nil {
			return nil, err
		}
	}
	out := []any{}
	for i, f := range files {
		f.Title = titles[i]
		out = append(out, object{"id": f.ID, "title": f.Title})
	}
	s.files = bounded(append(s.files, files...), maxFiles)
	return object{"files": out}, nil
}

// uploaded finds a file whose bytes came and that is not completed yet.
func (s *Slack) uploaded(id string) (*File, bool) {
	for _, f := range s.uploads.byID {
		if f.ID == id && f.sent && f.Title == "" {
			return f, true
		}
	}
	return nil, false
}

func shareIn(a args) []string {
	return strings.FieldsFunc(a["channel_id"]+","+a["channels"], func(r rune) bool { return r == ',' })
}

// share posts a message with the files.
func (s *Slack) share(ref string, a args, files []*File) error {
	c, err := s.speakable(ref)
	if err != nil {
		return err
	}
	thread, err := c.thread(a["thread_ts"])
	if err != nil {
		return err
	}
	m := Message{ThreadTS: thread, User: BotUser, Version: Version{Text: a["initial_comment"]}}
	for _, f := range files {
		m.Files = append(m.Files, f.ID)
	}
	posted := s.post(c, m)
	for _, f := range files {
		f.Channel, f.TS = c.ID, posted.TS
	}
	return nil
}
