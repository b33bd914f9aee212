# nix run "github:tunhook/tunhook?dir=packaging" -- --help
{
  description = "Tunnel for exactly as long as a remote-desktop client needs it";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    in
    {
      packages = nixpkgs.lib.genAttrs systems (
        system:
        let
          pkgs = nixpkgs.legacyPackages.${system};
        in
        {
          default = pkgs.buildGoModule rec {
            pname = "tunhook";
            version = "0.1.0";
            src = ./..;
            # Of what "go mod vendor" makes: it changes with go.mod.
            vendorHash = "sha256-oi1yIj3AkyUyxj/35NiX168FHIRdCIYhJR8SIk19sPY=";

            subPackages = [ "cmd/tunhook" ];
            env.CGO_ENABLED = 0;
            tags = [ "urfave_cli_no_docs" ];
            ldflags = [
              "-s"
              "-w"
              "-X main.stampedVersion=${version}"
            ];
            # The tests run programs by the paths that other systems have.
            doCheck = false;

            installPhase = ''
              runHook preInstall
              make install-files TUNHOOK="$GOPATH/bin/tunhook" PREFIX="$out"
              runHook postInstall
            '';

            meta = {
              description = "Tunnel for exactly as long as a remote-desktop client needs it";
              homepage = "https://github.com/tunhook/tunhook";
              license = pkgs.lib.licenses.asl20;
              mainProgram = "tunhook";
              platforms = systems;
            };
          };
        }
      );
    };
}
