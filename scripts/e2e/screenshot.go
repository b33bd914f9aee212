//go:build e2e

package e2e

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"time"
)

// screenshot leaves a picture of the whole screen among the artifacts.
func (u *user) screenshot(name string) image.Image {
	u.t.Helper()
	taken, err := filepath.Glob(filepath.Join(u.artifacts, "*.png"))
	if err != nil {
		u.t.Fatal(err)
	}
	file := filepath.Join(u.artifacts, fmt.Sprintf("%02d-%s.png", len(taken)+1, name))
	shot := u.look(1)
	out, err := os.Create(file)
	if err != nil {
		u.t.Fatal(err)
	}
	defer out.Close()
	if err := png.Encode(out, shot); err != nil {
		u.t.Fatal(err)
	}
	u.t.Logf("screenshot: %s", file)
	return shot
}

// look returns every so manyeth line of what is on the screen.
func (u *user) look(every int) image.Image {
	u.t.Helper()
	x, err := dialX11(u.display())
	if err != nil {
		u.t.Fatal(err)
	}
	defer x.Close()
	shot, err := x.look(every)
	if err != nil {
		u.t.Fatal(err)
	}
	return shot
}

// share returns how much of the screen has a colour, from 0 to 1, going by every fourth
// pixel of every fourth line. Colours that a lossy codec has changed a little count.
func (u *user) share(want color.RGBA) float64 {
	u.t.Helper()
	const step = 4
	shot := u.look(step)
	bounds := shot.Bounds()
	seen, matching := 0, 0
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x += step {
			seen++
			r, g, b, _ := shot.At(x, y).RGBA()
			if near(r, want.R) && near(g, want.G) && near(b, want.B) {
				matching++
			}
		}
	}
	return float64(matching) / float64(seen)
}

// near compares a 16-bit channel with an 8-bit one.
func near(got uint32, want uint8) bool {
	const tolerance = 12
	difference := int(got>>8) - int(want)
	return -tolerance <= difference && difference <= tolerance
}

// shows reports whether a colour covers at least a twentieth of the screen.
func (u *user) shows(want color.RGBA) bool {
	u.t.Helper()
	return u.share(want) >= 0.05
}

// waitForPicture waits until a colour, and so the remote desktop painted in it, shows.
func (u *user) waitForPicture(want color.RGBA, timeout time.Duration) {
	u.t.Helper()
	shown := false
	defer func() {
		if !shown {
			u.screenshot("no-picture")
		}
	}()
	eventually(u.t, timeout, "the remote desktop's picture is on the screen", func() bool {
		shown = u.shows(want)
		return shown
	})
}
