package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"secbot/internal/chart"
	"secbot/remediation"
)

// keepUpload is how long is known which file a notice has uploaded: as long as a
// notice is tried.
const keepUpload = 8 * 24 * time.Hour

// upload is what is known of a notice's file: the data of its record.
type upload struct {
	File string `json:"file"` // its id; it may be shared already
}

func uploadRecord(notice string) string { return "upload/" + notice }

// stats posts statistics with their picture. Where Slack takes no picture from
// secbot the numbers go alone.
func (n *Notifier) stats(ctx context.Context, notice remediation.Notice) error {
	var r remediation.StatsReport
	if err := decode(notice, &r); err != nil {
		return err
	}
	channel, err := n.statsChannel(ctx, notice, r)
	if err != nil {
		return err
	}
	err = n.picture(ctx, notice, channel, r.Stats)
	if missing := missingScope(err); missing != "" || refusesFiles(err) {
		n.log().Error("a picture can't be uploaded, so the numbers go alone", "error", err)
		return n.once(ctx, notice, channel, renderStats(r.Stats, n.Names, "The picture could not be uploaded: "+pictureHint(missing)))
	}
	if r.User != "" {
		return unlessTemporary(err)
	}
	return err
}

func pictureHint(missing string) string {
	if missing == "" {
		return "the workspace takes no files from secbot."
	}
	return "give the Slack app the scope " + code(missing, 60) + " and install it again."
}

// refusesFiles reports whether Slack will never take the file.
func refusesFiles(err error) bool {
	return slices.Contains([]string{"file_upload_size_restricted", "file_uploads_disabled", "file_uploads_except_images_disabled",
		"storage_limit_reached", "slack_connect_file_upload_sharing_blocked", "restricted_action"}, errorCode(err))
}

// statsChannel is where they go, by its id: files are shared in nothing else.
func (n *Notifier) statsChannel(ctx context.Context, notice remediation.Notice, r remediation.StatsReport) (string, error) {
	if r.User != "" {
		channel, err := n.direct(ctx, r.User)
		return channel, unlessTemporary(err)
	}
	named, err := n.channel(notice.Channel)
	if err != nil {
		return "", err
	}
	id, err := n.channelID(ctx, named)
	if err == nil && id == "" {
		err = fmt.Errorf("there is no channel %s that the bot can see: %s", named, hintFor("channel_not_found"))
	}
	return id, err
}

// picture shares the picture, once. A message with a file bears no metadata, so
// the file's id is kept before it is shared: an attempt that comes after one of
// which nobody knows the end looks for a message with that file.
func (n *Notifier) picture(ctx context.Context, notice remediation.Notice, channel string, s remediation.Stats) error {
	rec, known, err := n.uploaded(ctx, notice.ID)
	if err != nil {
		return err
	}
	if known.File != "" {
		shared, err := n.isShared(ctx, channel, notice, known.File)
		if err != nil || shared {
			return err
		}
	}
	png, err := chart.PNG(s)
	if err != nil {
		return fmt.Errorf("%w: %w", remediation.ErrUndeliverable, err)
	}
	name := "secbot-" + s.To.UTC().Format(time.DateOnly) + ".png"
	if known.File, err = n.send(ctx, name, altText(s), png); err != nil {
		return err
	}
	if rec.Data, err = json.Marshal(known); err != nil {
		return fmt.Errorf("encode %s: %w", rec.Key, err)
	}
	rec.At, rec.Until = n.now(), n.now().Add(keepUpload)
	if err := n.Store.Commit(ctx, remediation.Write{Records: []*remediation.Record{rec}}); err != nil {
		return fmt.Errorf("remember the file of notice %s: %w", notice.ID, err)
	}
	_, err = n.Client.CompleteUploadExternalContext(ctx, slack.CompleteUploadExternalParameters{
		Files: []slack.FileSummary{{ID: known.File, Title: statsTitle(s)}}, Channel: channel, InitialComment: statsComment(s, n.Names),
	})
	return sendError("files.completeUploadExternal to "+channel, err)
}

// uploaded reads which file an earlier attempt at a notice has uploaded.
func (n *Notifier) uploaded(ctx context.Context, notice string) (*remediation.Record, upload, error) {
	var u upload
	rec, err := n.Store.Record(ctx, uploadRecord(notice))
	if errors.Is(err, remediation.ErrNotFound) {
		return &remediation.Record{Key: uploadRecord(notice)}, u, nil
	}
	if err != nil {
		return nil, u, fmt.Errorf("read the file of notice %s: %w", notice, err)
	}
	if err := json.Unmarshal(rec.Data, &u); err != nil {
		return nil, u, fmt.Errorf("decode %s: %w", rec.Key, err)
	}
	return rec, u, nil
}

// send uploads a file, which nobody sees yet, and gives its id. The address is a
// secret and stands in no error.
func (n *Notifier) send(ctx context.Context, name, alt string, content []byte) (string, error) {
	to, err := n.Client.GetUploadURLExternalContext(ctx, slack.GetUploadURLExternalParameters{FileName: name, FileSize: len(content), AltTxt: alt})
	if err != nil {
		return "", apiError("files.getUploadURLExternal", err)
	}
	err = withoutURL(n.Client.UploadToURL(ctx, slack.UploadToURLParameters{UploadURL: to.UploadURL, Filename: name, Reader: bytes.NewReader(content)}))
	if err != nil && strings.Contains(err.Error(), to.UploadURL) {
		err = errors.New("the address for it is neither Slack's nor on the host of SLACK_API_URL")
	}
	return to.FileID, apiError("upload a file", err)
}

// isShared looks for a message with a file that an earlier attempt has shared.
func (n *Notifier) isShared(ctx context.Context, channel string, notice remediation.Notice, file string) (bool, error) {
	found, err := n.search(ctx, channel, notice, func(m slack.Message) bool {
		return slices.ContainsFunc(m.Files, func(f slack.File) bool { return f.ID == file })
	})
	return found.ts != "", err
}

// altText says what the picture shows, for those who can't see it.
func altText(s remediation.Stats) string {
	text := statsTitle(s)
	if m := s.Mitigated; m.Count > 0 {
		text += fmt.Sprintf("; from the change to its fix the median is %s", chart.Span(m.Median))
	}
	return "Chart: " + text
}
