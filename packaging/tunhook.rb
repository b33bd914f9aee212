# For a tap of Homebrew's, on Linux: tunhook(1) says what is missing on macOS.
class Tunhook < Formula
  desc "Tunnel for exactly as long as a remote-desktop client needs it"
  homepage "https://github.com/tunhook/tunhook"
  url "https://github.com/tunhook/tunhook.git", tag: "v0.1.0"
  license "Apache-2.0"
  head "https://github.com/tunhook/tunhook.git", branch: "main"

  depends_on "go" => :build

  def install
    system "make", "build", "VERSION=#{version}"
    system "make", "install-files", "PREFIX=#{prefix}", "MANDIR=#{man1}", "MAN5DIR=#{man5}",
           "BASHDIR=#{bash_completion}", "ZSHDIR=#{zsh_completion}", "FISHDIR=#{fish_completion}"
  end

  def caveats
    <<~EOS
      Before you uninstall tunhook, disable what you have enabled:
        tunhook remmina disable PROFILE
        tunhook disable --all
    EOS
  end

  test do
    assert_equal "tunhook version #{version}", shell_output("#{bin}/tunhook --version").strip
  end
end
