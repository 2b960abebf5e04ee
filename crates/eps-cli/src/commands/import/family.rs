//! The families of networks that are imported, by the names of their tensors.

/// A family of published networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// EDM's SongUNet and DhariwalUNet.
    Edm,
    /// guided-diffusion's UNetModel.
    Guided,
    /// diffusers' UNet2DModel.
    Diffusers,
    /// EDM2's Precond.
    Edm2,
}

/// What stands before the UNet of a latent diffusion network, whose names are guided-diffusion's.
const LATENT: &str = "diffusion_model.";

/// How diffusers called the tensors of an attention until 2023, and how since.
const RENAMED: [(&str, &str); 4] = [
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
];

impl Family {
    pub(super) const ALL: [Self; 4] = [Self::Edm, Self::Guided, Self::Diffusers, Self::Edm2];

    /// How messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Edm => "EDM's networks",
            Self::Guided => "guided-diffusion's UNetModel",
            Self::Diffusers => "diffusers' UNet2DModel",
            Self::Edm2 => "EDM2's Precond",
        }
    }

    /// A tensor that every network of the family has: what stands before its name stands before all of that network.
    fn anchor(self) -> &'static str {
        match self {
            Self::Edm => "map_layer0.weight",
            Self::Guided => "time_embed.0.weight",
            Self::Diffusers => "time_embedding.linear_1.weight",
            Self::Edm2 => "unet.emb_noise.weight",
        }
    }

    /// What the original itself puts before all names, which some state dicts leave out.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Edm => "model.",
            Self::Guided | Self::Diffusers | Self::Edm2 => "",
        }
    }

    /// The family of a network by the name of one of its tensors, and what stands before its names.
    pub(super) fn of_anchor(name: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|family| {
            let prefix = name.strip_suffix(family.anchor())?;
            let is_whole = prefix.is_empty() || prefix.ends_with('.');
            let is_latent = family == Self::Guided && prefix.ends_with(LATENT);
            (is_whole && !is_latent).then_some((family, prefix))
        })
    }

    /// The name that a tensor has in this program, of its name in a file without what stands before all.
    pub(super) fn tensor_name(self, name: &str) -> String {
        let mut name = format!("{}{name}", self.prefix());
        if self == Self::Diffusers && name.contains("attentions.") {
            for (old, new) in RENAMED {
                name = name.replace(old, new);
            }
        }
        name
    }
}
