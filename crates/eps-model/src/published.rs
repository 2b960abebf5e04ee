//! Published networks, by the names of their files.

use eps_math::timesteps::Betas;

use crate::{
    DhariwalUNetConfig, DownBlockType, PrecondConfig, SongUNetConfig, UNet2DModelConfig,
    UNetConfig, UNetModelConfig, UpBlockType,
};

/// The names that [`published`] knows: EDM's (Karras et al. 2022), EDM2's (Karras et al. 2024), those of
/// guided-diffusion (Dhariwal and Nichol 2021; `ffhq_10m` is Choi et al.'s, 2021) and Ho et al.'s (2020) in diffusers.
pub const PUBLISHED: [&str; 22] = [
    "edm-ffhq-64x64-uncond-vp",
    "edm-ffhq-64x64-uncond-ve",
    "edm-afhqv2-64x64-uncond-vp",
    "edm-afhqv2-64x64-uncond-ve",
    "edm-cifar10-32x32-uncond-vp",
    "edm-cifar10-32x32-uncond-ve",
    "edm-cifar10-32x32-cond-vp",
    "edm-cifar10-32x32-cond-ve",
    "edm-imagenet-64x64-cond-adm",
    "edm2-img64-xs",
    "edm2-img64-s",
    "edm2-img64-m",
    "edm2-img64-l",
    "edm2-img64-xl",
    "ffhq_10m",
    "256x256_diffusion_uncond",
    "256x256_diffusion",
    "512x512_diffusion",
    "128x128_diffusion",
    "64x64_diffusion",
    "ddpm-cifar10-32",
    "ddpm-celebahq-256",
];

/// The architecture of a network of [`PUBLISHED`].
///
/// "vp" and "ve" of EDM's name the architecture alone, DDPM++ or NCSN++: all are preconditioned as in EDM.
#[must_use]
pub fn published(name: &str) -> Option<UNetConfig> {
    if let Some(config) = edm(name) {
        return Some(config);
    }
    Some(match name {
        "edm2-img64-xs" => edm2(128),
        "edm2-img64-s" => edm2(192),
        "edm2-img64-m" => edm2(256),
        "edm2-img64-l" => edm2(320),
        "edm2-img64-xl" => edm2(384),
        "ffhq_10m" => UNetModelConfig {
            num_channels: 128,
            num_res_blocks: 1,
            attention_resolutions: vec![16],
            ..guided(256, 0)
        }
        .into(),
        "256x256_diffusion_uncond" => guided(256, 0).into(),
        "256x256_diffusion" => guided(256, 1000).into(),
        "512x512_diffusion" => guided(512, 1000).into(),
        "128x128_diffusion" => {
            UNetModelConfig { num_head_channels: -1, num_heads: 4, ..guided(128, 1000) }.into()
        }
        "64x64_diffusion" => UNetModelConfig {
            num_channels: 192,
            num_res_blocks: 3,
            use_new_attention_order: true,
            dropout: 0.1,
            ..guided(64, 1000)
        }
        .into(),
        "ddpm-cifar10-32" => ddpm(32, vec![128, 256, 256, 256], 1).into(),
        "ddpm-celebahq-256" => ddpm(256, vec![128, 128, 256, 256, 512, 512], 4).into(),
        _ => return None,
    })
}

/// The chain that a network of [`PUBLISHED`] predicts the noise of; none for those that are preconditioned as in EDM.
#[must_use]
pub fn published_betas(name: &str) -> Option<Betas> {
    let of_noise = published(name).is_some_and(|config| config.predicts_noise());
    of_noise.then(|| match name {
        "64x64_diffusion" => Betas::cosine(),
        _ => Betas::linear(),
    })
}

/// Who published weights under a name of [`PUBLISHED`], in the genitive, and under which licence, where that is known.
#[must_use]
pub fn published_licence(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match published(name)? {
        _ if name == "ffhq_10m" => return None,
        UNetConfig::SongUNet(_) | UNetConfig::DhariwalUNet(_) => ("EDM's", "CC BY-NC-SA 4.0"),
        UNetConfig::Precond(_) => ("EDM2's", "CC BY-NC-SA 4.0"),
        UNetConfig::UNetModel(_) => ("OpenAI's", "MIT"),
        UNetConfig::UNet2DModel(_) => ("Google's", "Apache-2.0"),
    })
}

/// EDM's.
fn edm(name: &str) -> Option<UNetConfig> {
    let vp = |side| SongUNetConfig::ddpmpp(side, 3, 3);
    let ve = |side| SongUNetConfig::ncsnpp(side, 3, 3);
    let faces = |config| SongUNetConfig { augment_dim: 9, dropout: 0.05, ..config };
    let animals = |config| SongUNetConfig { augment_dim: 9, dropout: 0.25, ..config };
    let cifar = |config, label_dim| SongUNetConfig {
        label_dim,
        augment_dim: 9,
        channel_mult: vec![2, 2, 2],
        dropout: 0.13,
        ..config
    };
    Some(match name {
        "edm-ffhq-64x64-uncond-vp" => faces(vp(64)).into(),
        "edm-ffhq-64x64-uncond-ve" => faces(ve(64)).into(),
        "edm-afhqv2-64x64-uncond-vp" => animals(vp(64)).into(),
        "edm-afhqv2-64x64-uncond-ve" => animals(ve(64)).into(),
        "edm-cifar10-32x32-uncond-vp" => cifar(vp(32), 0).into(),
        "edm-cifar10-32x32-uncond-ve" => cifar(ve(32), 0).into(),
        "edm-cifar10-32x32-cond-vp" => cifar(vp(32), 10).into(),
        "edm-cifar10-32x32-cond-ve" => cifar(ve(32), 10).into(),
        "edm-imagenet-64x64-cond-adm" => {
            DhariwalUNetConfig { label_dim: 1000, ..DhariwalUNetConfig::adm(64, 3, 3) }.into()
        }
        _ => return None,
    })
}

/// EDM2's of ImageNet-64.
fn edm2(model_channels: usize) -> UNetConfig {
    PrecondConfig {
        img_resolution: 64,
        label_dim: 1000,
        model_channels,
        ..PrecondConfig::default()
    }
    .into()
}

/// What most of guided-diffusion's networks have.
fn guided(image_size: usize, num_classes: usize) -> UNetModelConfig {
    UNetModelConfig {
        image_size,
        out_channels: 6,
        learn_sigma: true,
        num_classes,
        num_channels: 256,
        num_res_blocks: 2,
        attention_resolutions: vec![32, 16, 8],
        num_head_channels: 64,
        use_scale_shift_norm: true,
        resblock_updown: true,
        ..UNetModelConfig::default()
    }
}

/// Ho et al.'s with attention in one level.
fn ddpm(sample_size: usize, channels: Vec<usize>, attends: usize) -> UNet2DModelConfig {
    let levels = channels.len();
    let mut down_block_types = vec![DownBlockType::DownBlock2D; levels];
    let mut up_block_types = vec![UpBlockType::UpBlock2D; levels];
    down_block_types[attends] = DownBlockType::AttnDownBlock2D;
    up_block_types[levels - 1 - attends] = UpBlockType::AttnUpBlock2D;
    UNet2DModelConfig {
        sample_size,
        block_out_channels: channels,
        down_block_types,
        up_block_types,
        norm_eps: 1e-6,
        freq_shift: 1.0,
        flip_sin_to_cos: false,
        downsample_padding: 0,
        attention_head_dim: None,
        ..UNet2DModelConfig::default()
    }
}
