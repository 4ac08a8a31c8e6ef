package chart

import (
	"bytes"
	"image"
	xdraw "image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"secbot/remediation"
)

// month has n findings on each day, of some severities, and a fix on most days.
func month(n int) remediation.Stats {
	s := remediation.Stats{From: time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2025, 4, 30, 9, 0, 0, 0, time.UTC)}
	for i := range remediation.StatsDays {
		d := remediation.StatsSpan{Day: s.From.AddDate(0, 0, i), Found: map[remediation.Severity]int{}}
		for j, severity := range remediation.Severities() {
			d.Found[severity] = n * ((i*(j+3) + j) % 5) / (j + 1)
		}
		if i%4 != 3 && n > 0 {
			d.Mitigated = remediation.Mitigation{Count: 1, Median: time.Duration((i*37)%90) * time.Second}
			s.Mitigated.Count++
		}
		s.Found += d.All()
		s.Days = append(s.Days, d)
	}
	s.Mitigated.Median, s.Mitigated.P90 = 40*time.Second, 11*time.Minute
	return s
}

func draw(t *testing.T, s remediation.Stats) (image.Image, []byte) {
	t.Helper()
	raw, err := PNG(s)
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("SECBOT_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+".png"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != Width || b.Dy() != Height {
		t.Errorf("the picture has %v", b)
	}
	if r, g, b, a := img.At(1, 1).RGBA(); r>>8 != 255 || g>>8 != 255 || b>>8 != 255 || a>>8 != 255 {
		t.Errorf("the background is %v", img.At(1, 1))
	}
	return img, raw
}

// ink counts the pixels of a colour above or below the place where the upper chart
// ends, without the legend.
func ink(img image.Image, colour uint32, lower bool) int {
	rows := image.Rect(0, 40, Width, split)
	if lower {
		rows = image.Rect(0, split, Width, Height)
	}
	plain := image.NewRGBA(rows)
	xdraw.Draw(plain, rows, img, rows.Min, xdraw.Src)
	pixel := []byte{byte(colour >> 16), byte(colour >> 8), byte(colour), 255}
	n := 0
	for p := range slices.Chunk(plain.Pix, 4) {
		if bytes.Equal(p, pixel) {
			n++
		}
	}
	return n
}

// TestPicture: the bars and the line are there and follow the numbers.
func TestPicture(t *testing.T) {
	one := month(0)
	one.Days[29].Found[remediation.SeverityHigh] = 1
	one.Days[29].Mitigated = remediation.Mitigation{Count: 1, Median: 3 * time.Second, P90: 3 * time.Second}
	one.Found, one.Mitigated = 1, one.Days[29].Mitigated
	unrated := month(0)
	unrated.Days[3].Found[""] = 4
	for name, tt := range map[string]struct {
		stats                       remediation.Stats
		low, medium, high, critical bool
		line                        bool
	}{
		"month":   {month(700), true, true, true, true, true},
		"unrated": {unrated, true, false, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			img, raw := draw(t, tt.stats)
			for i, want := range []bool{tt.low, tt.medium, tt.high, tt.critical} {
				if got := ink(img, colours()[i], false); got > 300 != want {
					t.Errorf("%s: %d pixels of it", remediation.Severities()[i], got)
				}
			}
			if got := ink(img, lineColour, true); got > 10 != tt.line {
				t.Errorf("the line has %d pixels", got)
			}
			if len(raw) > 200<<10 {
				t.Errorf("the picture has %d bytes", len(raw))
			}
		})
	}
	few, raw := draw(t, one)
	if _, again := draw(t, one); !bytes.Equal(raw, again) {
		t.Error("drawn again it is another picture")
	}
	one.Days[29].Found[remediation.SeverityHigh] = 3
	many, _ := draw(t, one)
	if a, b := ink(few, colours()[2], false), ink(many, colours()[2], false); a < 300 || b < 2*a {
		t.Errorf("the bar of one finding has %d pixels, that of three %d", a, b)
	}
	if n := ink(few, lineColour, true); n < 10 {
		t.Errorf("the point of a single day has %d pixels", n)
	}
}

func TestScale(t *testing.T) {
	for most, want := range map[float64]float64{0: 4, 1: 4, 4: 4, 5: 8, 9: 12, 13: 20, 21: 40, 89: 120, 1000: 1200, 12001: 20000} {
		if got := *scale(most).Max; got != want {
			t.Errorf("up to %v the axis ends at %v, want %v", most, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0.0 s", 1234 * time.Millisecond: "1.2 s", 90 * time.Second: "90 s",
		45 * time.Minute: "45 min", 26 * time.Hour: "26 h", 100 * time.Hour: "4 days"} {
		if got := Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
